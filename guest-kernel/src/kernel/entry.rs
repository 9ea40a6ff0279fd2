//! The kernel, and how it handles an entry.

use abi::flow::{Flow, Gate};
use abi::info::{Info, QUIRK_SYSCALL_FAULTS};
use abi::loan::Loan;
use abi::process::{Context, PROCESS_SLOTS, VECTOR_SYSCALL};
use abi::service::{SERVICE_SLOTS, Service};
use abi::syscall::Load;
use abi::trace::{Kind, Record};
use abi::{Frame, Pid};

use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::base::layer::layer;
use crate::base::module::Module;
use crate::base::params::Params;
use crate::base::{BaseTables, Core, TRACE_SLOTS};
use crate::ipc::{FLOW_SLOTS, GATE_SLOTS, Ipc};
use crate::mem::pager::Pager;
use crate::mem::{LOAN_SLOTS, Memory};
use crate::proc::Processes;
use crate::sched::Scheduler;
use crate::security::Security;
use crate::syscall::Syscalls;

/// The vector of a page fault.
const VECTOR_PAGE_FAULT: u64 = 14;
/// The vector of the APIC's timer, the first that is no exception's.
pub(crate) const VECTOR_TIMER: u64 = 32;

/// Tables that the host reads, at fixed places in guest memory.
pub struct Tables {
    /// The info block.
    pub info: &'static mut Info,
    /// Frame numbers of the descriptors.
    pub processes: &'static mut [u32; PROCESS_SLOTS],
    /// The loans.
    pub loans: &'static mut [Loan; LOAN_SLOTS],
    /// The trace.
    pub ring: &'static mut [Record; TRACE_SLOTS],
    /// The flows.
    pub flows: &'static mut [Flow; FLOW_SLOTS],
    /// Processes that wait at the gateway.
    pub gates: &'static mut [Gate; GATE_SLOTS],
    /// The services.
    pub services: &'static mut [Service; SERVICE_SLOTS],
}

/// The kernel, on system calls. Entries are serial: one CPU, no interrupts while it runs.
pub struct Kernel<H> {
    pub(super) syscalls: Syscalls<H>,
    /// Kernel entries until the next tick; where the APIC has the clock, never less.
    pub(super) left: u32,
    /// Entries that are left of this tick after an interrupt that the host ordered; 0 if none is to come.
    pub(super) rest: u32,
}

layer!(Kernel over Syscalls in syscalls);

impl<H: Hardware> Kernel<H> {
    /// Creates a kernel without processes.
    pub fn new(
        hw: H,
        tables: Tables,
        pager: Pager,
        module: Module,
        params: Params,
        kernel_root: Frame,
    ) -> Self {
        let left = params.tick_entries;
        let Tables { info, processes, loans, ring, flows, gates, services } = tables;
        let core = Core::new(hw, BaseTables { info, processes, ring }, module, params);
        let ipc = Ipc::new(Scheduler::new(Memory::new(core, pager, loans, kernel_root)), flows, gates);
        let syscalls = Syscalls::new(Security::new(Processes::new(ipc, services)));
        let mut kernel = Self { syscalls, left, rest: 0 };
        kernel.publish_limits();
        kernel
    }

    pub(super) fn publish_limits(&mut self) {
        let params = self.params();
        let (low_water, buffers, seed) = (params.low_water, params.buffers, params.seed);
        let watchdog_ticks = params.load(Load::Watchdog as u64).unwrap_or(0);
        self.watch_low_water(low_water);
        let info = self.info_mut();
        info.watchdog_ticks = watchdog_ticks;
        info.buffers_limit = buffers;
        let frames = u64::from(info.frames);
        self.publish_frames();
        self.emit(Kind::Boot, Pid::NONE, abi::info::VERSION, frames, seed);
    }

    /// The saved registers of the running process.
    pub fn current_context(&mut self) -> &mut Context {
        let slot = self.current();
        &mut self.process(slot).d.context
    }

    /// Handles one kernel entry: the registers of the process that made it are in its descriptor. On return
    /// the machine resumes the process that was chosen.
    pub fn enter(&mut self) {
        self.info_mut().entries += 1;
        let (slot, tick) = (self.current(), self.now());
        let process = self.process(slot);
        process.d.entries += 1;
        let (vector, pid) = (process.d.context.vector, process.d.pid);
        if vector != VECTOR_TIMER {
            process.d.seen = tick;
        }
        self.pass_time(pid, vector);
        // The host may have had the process ended at the tick.
        if self.current() == slot {
            if vector == VECTOR_SYSCALL || (vector == VECTOR_PAGE_FAULT && self.mend_syscall(slot)) {
                self.system_call(slot);
            } else {
                self.exception(slot, vector);
            }
        }
        if self.needs_switch() {
            self.schedule();
        }
    }

    #[inline(never)]
    pub(super) fn exception(&mut self, slot: Slot, vector: u64) {
        match vector {
            VECTOR_PAGE_FAULT => self.page_fault(slot),
            VECTOR_TIMER => {}
            _ => self.fault(slot, vector as u32, 0),
        }
    }

    /// Turns a system call that has arrived as a page fault into one; returns whether it was one.
    #[inline(always)]
    pub(super) fn mend_syscall(&mut self, slot: Slot) -> bool {
        let context = &self.process(slot).d.context;
        if !H::is_syscall(context) {
            return false;
        }
        let flags = context.r11;
        let rflags = self.user_rflags(flags);
        let context = &mut self.process(slot).d.context;
        context.rip = context.rcx;
        context.rflags = rflags;
        context.vector = VECTOR_SYSCALL;
        self.info_mut().quirks |= QUIRK_SYSCALL_FAULTS;
        true
    }

    /// Switches to the most urgent process, and idles until there is one.
    pub fn schedule(&mut self) {
        self.begin_switch();
        let next = loop {
            match self.next_ready() {
                Some(next) => break next,
                None => self.idle(),
            }
        };
        self.switch_to(next);
    }
}
