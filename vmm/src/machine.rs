//! A machine: memory, processor and devices, built from a [`MachineConfig`] and run from event to event.
//!
//! A full reset is dropping the machine and building another one from the same configuration: the image in it is
//! read and checked only once.

use std::io;

use abi::{GuestPhys, GuestVirt};
use devices::Bus;
use devices::watchdog::{Stages, Timeout};
use introspect::Changed;
use introspect::memory::PhysicalMemory;
use kvm_bindings::{CpuId, kvm_regs, kvm_sregs};

use crate::cpu;
use crate::error::{Error, VmmError};
use crate::exit::InstructionBytes;
use crate::kvm::{Kvm, Vcpu, Vm, host_processor};
use crate::loader::{Blob, Image};
use crate::memory::GuestMemory;
use crate::vcpu::{Board, Crash};
pub use crate::vcpu::{Counts, Event};
use crate::wall::Kick;

/// What a machine is built from. It can be used again.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Memory, MiB.
    pub memory_mib: u32,
    /// The kernel.
    pub image: Image,
    /// The kernel's command line.
    pub cmdline: String,
    /// The boot module.
    pub module: Option<Blob>,
    /// What the watchdog's seconds are measured in.
    pub timeout: Timeout,
    /// What the watchdog does.
    pub stages: Stages,
}

/// A guest with everything that belongs to it. `W` is where its console goes.
pub struct Machine<W> {
    // Dropped in this order: processor, guest, memory.
    vcpu: Vcpu,
    vm: Vm,
    board: Board<W>,
    kick: Option<Kick>,
}

/// Registers of a processor, for reports and dumps.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// General registers.
    pub general: kvm_regs,
    /// System registers.
    pub system: kvm_sregs,
}

/// What is the same for every machine on a host.
pub struct Model {
    cpuid: CpuId,
}

impl Model {
    /// The model for this host.
    pub fn of(_kvm: &Kvm) -> Result<Self, VmmError> {
        let leaves = cpu::cpuid(host_processor());
        let cpuid = CpuId::from_entries(&leaves).map_err(|_| VmmError::BadExit)?;
        Ok(Self { cpuid })
    }
}

impl<W: io::Write> Machine<W> {
    /// Builds a machine that stands before its first instruction.
    pub fn new(kvm: &Kvm, model: &Model, config: &MachineConfig, console: W) -> Result<Self, Error> {
        let memory = GuestMemory::new(config.memory_mib)?;
        let start = config.image.load(&memory, &config.cmdline, config.module.as_ref())?;
        let vm = kvm.create_vm(&memory)?;
        let vcpu = vm.create_vcpu(&model.cpuid)?;
        let mut sregs = vcpu.sregs()?;
        cpu::set_pvh_sregs(&mut sregs);
        vcpu.set_sregs(&sregs)?;
        vcpu.set_regs(&cpu::pvh_regs(start.entry, start.start_info))?;
        let bus = Bus::new(console, config.timeout, config.stages);
        Ok(Self { vcpu, vm, board: Board::new(bus, memory), kick: None })
    }

    /// From now on this kick is looked at before each entry into the guest. It must be a kick of the thread that calls
    /// [`Machine::step`].
    pub fn attach(&mut self, kick: Kick) {
        self.kick = Some(kick);
    }

    /// Runs the guest until something happens that the caller must know or decide on.
    pub fn step(&mut self) -> Result<Event, VmmError> {
        if let Some(event) = self.board.next_event() {
            return Ok(event);
        }
        loop {
            if self.kick.as_ref().is_some_and(Kick::take) {
                return Ok(Event::Kicked);
            }
            if let Some(event) = self.board.handle(self.vcpu.run()?)? {
                return self.complete_event(event);
            }
        }
    }

    /// A crash is told with the place where it happened.
    fn complete_event(&mut self, event: Event) -> Result<Event, VmmError> {
        let Event::Crash(Crash { mut error, .. }) = event else { return Ok(event) };
        let regs = self.vcpu.regs()?;
        if error.bytes.as_slice().is_empty() {
            error.bytes = self.code_at(GuestVirt(self.vcpu.sregs()?.cs.base.wrapping_add(regs.rip)));
        }
        Ok(Event::Crash(Crash { error, rip: regs.rip }))
    }

    /// The bytes at an address, as far as they are mapped and in one page.
    fn code_at(&self, at: GuestVirt) -> InstructionBytes {
        let mut bytes = [0; 15];
        let len = bytes.len().min((at.page().add(abi::layout::PAGE_SIZE).0 - at.0) as usize);
        let found =
            self.vcpu.translate(at).is_some_and(|at| self.memory().read(at, &mut bytes[..len]).is_ok());
        InstructionBytes::new(if found { &bytes[..len] } else { &[] })
    }

    /// Adds the frames that were written since the last call, by whomever. [`Vm::log_writes`] must have been called.
    pub fn take_written(&self, changed: &mut Changed) {
        self.vm.take_written(changed);
    }

    /// Finishes the access that the guest stopped at, so that its registers are true. What comes of it is given by
    /// the next [`Machine::step`].
    pub fn complete(&mut self) -> Result<(), VmmError> {
        while let Some(exit) = self.vcpu.complete_io()? {
            if let Some(event) = self.board.handle(exit)? {
                self.board.queue(event);
            }
        }
        Ok(())
    }

    /// Raises the non-maskable interrupt.
    pub fn nmi(&mut self) -> Result<(), VmmError> {
        self.complete()?;
        self.vcpu.nmi()
    }

    /// The registers, after completing what the guest stopped at.
    pub fn registers(&mut self) -> Result<Registers, VmmError> {
        self.complete()?;
        Ok(Registers { general: self.vcpu.regs()?, system: self.vcpu.sregs()? })
    }

    /// Where the guest's page tables lead from this address, as KVM sees it.
    pub fn translate(&self, at: GuestVirt) -> Option<GuestPhys> {
        self.vcpu.translate(at)
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemory {
        self.board.memory()
    }

    /// The devices.
    pub fn bus(&self) -> &Bus<W> {
        &self.board.bus
    }

    /// The devices, to be acted on from outside.
    pub fn bus_mut(&mut self) -> &mut Bus<W> {
        &mut self.board.bus
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.board.counts()
    }

    /// Hands over console output that waits for the end of its line, and says whether output works.
    pub fn flush_console(&mut self) -> Result<(), VmmError> {
        self.board.flush_console()
    }

    /// The processor: for probes and tests.
    pub fn vcpu(&mut self) -> &mut Vcpu {
        &mut self.vcpu
    }

    /// The guest as KVM knows it.
    pub fn vm(&self) -> &Vm {
        &self.vm
    }
}
