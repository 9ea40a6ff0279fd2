//! [`Machine`]: a guest with its memory, processor and devices, and the loop that runs it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use abi::{GuestPhys, GuestVirt};
use devices::Bus;
use devices::watchdog::{Stages, Timeout};
use introspect::Changed;
use introspect::x86::memory::PhysicalMemory;
use kvm_bindings::{kvm_regs, kvm_sregs};

use crate::error::{Error, VmmError};
use crate::host::cpu;
use crate::host::exit::{Exit, InstructionBytes};
use crate::host::kvm::{CpuState, KickTarget, Kvm, Vcpu, Vm};
use crate::host::memory::GuestMemory;
use crate::machine::board::{Board, BoardState, Counts};
use crate::machine::event::{Crash, Event};
use crate::machine::loader::{Blob, Image};
use crate::machine::model::Model;
use crate::machine::snapshot::Snapshot;
use crate::wall::Kick;

/// What a machine is built from. Any number of machines can be built from one.
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

/// A guest with its memory, processor and devices. `W` takes its console output.
pub struct Machine<W> {
    // Dropped in this order: processor, guest, memory.
    vcpu: Vcpu,
    vm: Vm,
    board: Board<W>,
    kick: Option<Kick>,
    /// The snapshot that its memory started from, apart from the frames that were written since.
    origin: Option<Arc<Snapshot>>,
}

/// A machine without its board and console: a VM that another guest can use.
pub struct PooledVm {
    vcpu: Vcpu,
    vm: Vm,
    origin: Arc<Snapshot>,
}

impl PooledVm {
    /// The snapshot that its memory started from.
    pub fn origin(&self) -> &Arc<Snapshot> {
        &self.origin
    }
}

/// Registers of a processor, for reports and dumps.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// General registers.
    pub general: kvm_regs,
    /// System registers.
    pub system: kvm_sregs,
}

impl<W: io::Write> Machine<W> {
    /// Builds a machine at power-on, before its first instruction.
    ///
    /// # Errors
    ///
    /// The image does not fit the memory, or the host cannot provide memory or a VM.
    pub fn new(kvm: &Kvm, model: &Model, config: &MachineConfig, console: W) -> Result<Self, Error> {
        let memory = GuestMemory::new(config.memory_mib)?;
        let vm = kvm.create_vm(&memory)?;
        Self::at_power_on((memory, vm), model, config, console)
    }

    /// The same, with memory in a file, so that a snapshot of it costs no copy.
    pub fn new_for_snapshots(
        kvm: &Kvm,
        model: &Model,
        config: &MachineConfig,
        console: W,
    ) -> Result<Self, Error> {
        let memory = GuestMemory::in_file(config.memory_mib)?;
        let vm = kvm.create_logged_vm(&memory)?;
        Self::at_power_on((memory, vm), model, config, console)
    }

    fn at_power_on(
        (memory, vm): (GuestMemory, Vm),
        model: &Model,
        config: &MachineConfig,
        console: W,
    ) -> Result<Self, Error> {
        let start = config.image.load(&memory, &config.cmdline, config.module.as_ref())?;
        let mut vcpu = model.vcpu(&vm)?;
        let mut sregs = vcpu.sregs()?;
        cpu::set_pvh_sregs(&mut sregs);
        vcpu.set_sregs(&sregs)?;
        vcpu.set_regs(&cpu::pvh_regs(start.entry, start.start_info))?;
        let bus = Bus::new(console, config.timeout, config.stages);
        Ok(Self { vcpu, vm, board: Board::new(bus, memory), kick: None, origin: None })
    }

    /// Creates a VM that starts from `snapshot`. Its memory costs only the pages that the guest writes.
    pub fn fork(
        kvm: &Kvm,
        model: &Model,
        snapshot: &Arc<Snapshot>,
        (timeout, stages): (Timeout, Stages),
        console: W,
    ) -> Result<Self, Error> {
        let memory = GuestMemory::copy_on_write(snapshot.memory())?;
        let vm = kvm.create_logged_vm(&memory)?;
        let vcpu = model.vcpu_in(&vm, snapshot.cpu())?;
        let mut board = Board::new(Bus::new(console, timeout, stages), memory);
        snapshot.apply_to(&mut board);
        Ok(Self { vcpu, vm, board, kick: None, origin: Some(snapshot.clone()) })
    }

    /// Starts a guest from `snapshot` in a VM that another guest has used, of the same memory size.
    pub fn fork_into(
        pooled: PooledVm,
        (kvm, model): (&Kvm, &Model),
        snapshot: &Arc<Snapshot>,
        (timeout, stages): (Timeout, Stages),
        console: W,
    ) -> Result<Self, Error> {
        let PooledVm { vcpu, vm, origin } = pooled;
        let board = Board::new(Bus::new(console, timeout, stages), vm.memory().clone());
        let mut machine = Self { vcpu, vm, board, kick: None, origin: Some(origin) };
        machine.restore(kvm, model, snapshot)?;
        Ok(machine)
    }

    /// Restores the state of `snapshot`, of any guest with the same memory size. A machine that was started
    /// from this very snapshot has only the frames restored that were written since.
    ///
    /// # Errors
    ///
    /// KVM failed, or the guest stands at an access that does not end. The machine has no defined state then.
    pub fn restore(&mut self, kvm: &Kvm, model: &Model, snapshot: &Arc<Snapshot>) -> Result<(), Error> {
        let at_access = self.vcpu.io_pending();
        // The rest of a string instruction is discarded; a guest whose access never ends cannot be used
        // again.
        let mut attempts = 4096;
        while self.vcpu.complete_io_before(snapshot.cpu())?.is_some() {
            attempts -= 1;
            if attempts == 0 {
                return Err(VmmError::Probe("the access that a guest stopped at does not end".into()).into());
            }
        }
        let overlooks = model.overlooks_tables(kvm)?;
        let is_origin = self.origin.as_ref().is_some_and(|origin| Arc::ptr_eq(origin, snapshot));
        // If this fails half-way, the memory belongs to no snapshot.
        self.origin = None;
        if self.vm.restore_memory(snapshot.memory(), is_origin, overlooks)? {
            self.vm.flush_translations()?;
        }
        self.vcpu.restore(snapshot.cpu(), at_access)?;
        snapshot.apply_to(&mut self.board);
        self.origin = Some(snapshot.clone());
        Ok(())
    }

    /// Takes a snapshot, after completing the access that the guest stopped at.
    ///
    /// # Errors
    ///
    /// KVM failed, or the host has no memory for the snapshot.
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        while let Some(exit) = self.vcpu.sync_state()? {
            if let Some(event) = self.board.handle(exit)? {
                self.board.queue(event);
            }
        }
        let cpu = self.vcpu.state()?;
        let memory = self.board.memory().freeze()?;
        Ok(Snapshot::new(cpu, self.board.state(), memory))
    }

    /// Declares that `snapshot` has just been taken of this machine, so that [`Machine::restore`] need
    /// restore only the frames that are written from now on.
    pub fn set_origin(&mut self, snapshot: &Arc<Snapshot>) {
        self.vm.forget_written();
        self.origin = Some(snapshot.clone());
    }

    /// Gives up board and console and keeps the VM; `None` if the machine was started at power-on.
    pub fn into_pooled_vm(self) -> Option<PooledVm> {
        Some(PooledVm { origin: self.origin?, vcpu: self.vcpu, vm: self.vm })
    }

    /// The state of the processor, after completing the access that the guest stopped at.
    pub fn cpu_state(&mut self) -> Result<CpuState, VmmError> {
        while let Some(exit) = self.vcpu.sync_state()? {
            if let Some(event) = self.board.handle(exit)? {
                self.board.queue(event);
            }
        }
        self.vcpu.state()
    }

    /// The state of everything but memory and processor.
    pub fn board_state(&self) -> BoardState {
        self.board.state()
    }

    /// Checks this kick before each entry into the guest. It must be a kick of the thread that calls
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

    /// Runs the guest as [`Machine::step`] does, but ignores kicks; returns `None` when this time is over.
    pub fn step_within(&mut self, time: Duration) -> Result<Option<Event>, VmmError> {
        let alarm =
            KickTarget::this_thread().map_err(VmmError::resource("the kick signal"))?.signal_every(time);
        let _alarm = alarm.map_err(VmmError::resource("a timer"))?;
        loop {
            let exit = self.vcpu.run()?;
            if exit == Exit::Interrupted {
                return Ok(None);
            }
            if let Some(event) = self.board.handle(exit)? {
                return self.complete_event(event).map(Some);
            }
        }
    }

    /// Adds to a crash where it happened.
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

    /// Adds the frames that were written since the last call, by the guest or by the VMM. [`Vm::log_writes`]
    /// must have been called.
    pub fn take_written(&mut self, changed: &mut Changed) {
        self.vm.take_written(changed);
    }

    /// Discards cached translations. Call it after writing the guest's page tables.
    pub fn flush_translations(&mut self) -> Result<(), Error> {
        self.vm.flush_translations()
    }

    /// Completes the access that the guest stopped at, so that its registers are current. The next
    /// [`Machine::step`] returns the events that this causes.
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

    /// The registers, after completing the access that the guest stopped at.
    pub fn registers(&mut self) -> Result<Registers, VmmError> {
        self.complete()?;
        Ok(Registers { general: self.vcpu.regs()?, system: self.vcpu.sregs()? })
    }

    /// Translates an address by the guest's page tables, as KVM sees them.
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

    /// The counters of this machine.
    pub fn counts(&self) -> Counts {
        self.board.counts()
    }

    /// Passes on console output that waits for the end of its line.
    ///
    /// # Errors
    ///
    /// The console could not be written.
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
