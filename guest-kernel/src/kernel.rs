//! The kernel's state, its entry point, and the virtual clock below the scheduler.

use abi::flow::{Flow, Gate};
use abi::info::{Doorbell, HOST_LISTENS, Info, QUIRK_SYSCALL_FAULTS};
use abi::loan::Loan;
use abi::process::{PROCESS_SLOTS, VECTOR_SYSCALL};
use abi::service::{SERVICE_SLOTS, Service};
use abi::trace::{Kind, Record};
use abi::{Frame, GuestPhys, Pid};
use zerocopy::{FromBytes, IntoBytes};

use crate::agents::Agents;
use crate::broken::Broken;
use crate::buffers::Buffers;
use crate::hardware::Hardware;
use crate::ipc::Ports;
use crate::module::Module;
use crate::oracle::TimerInterrupt;
use crate::pager::Pager;
use crate::params::{Clock, Params};
use crate::process::{Process, Slots};
use crate::queue::Links;
use crate::scheduler::Ready;
use crate::timers::Timers;

/// Loans that can be open at once.
pub const LOAN_SLOTS: usize = 256;
/// Entries in the flow table.
pub const FLOW_SLOTS: usize = 256;
/// Places at the gateway.
pub const GATE_SLOTS: usize = 32;
/// Records in the trace ring.
pub const TRACE_SLOTS: usize = 1024;

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
    /// Who waits at the gateway.
    pub gates: &'static mut [Gate; GATE_SLOTS],
    /// The services.
    pub services: &'static mut [Service; SERVICE_SLOTS],
}

/// The kernel. Entries are serial: one CPU, no interrupts while it runs.
pub struct Kernel<H> {
    pub(crate) hw: H,
    /// The info block; counters live there.
    pub info: &'static mut Info,
    pub(crate) processes: &'static mut [u32; PROCESS_SLOTS],
    pub(crate) loans: &'static mut [Loan; LOAN_SLOTS],
    pub(crate) ring: &'static mut [Record; TRACE_SLOTS],
    pub(crate) flows: &'static mut [Flow; FLOW_SLOTS],
    pub(crate) gates: &'static mut [Gate; GATE_SLOTS],
    pub(crate) services: &'static mut [Service; SERVICE_SLOTS],
    pub(crate) pager: Pager,
    pub(crate) module: Module,
    pub(crate) params: Params,
    pub(crate) slots: Slots,
    /// Frame numbers of the descriptors, for the kernel itself: it finds a process by its slot here, whatever the process
    /// table says, in which pids are looked up and which the host reads.
    pub(crate) descriptors: [u32; PROCESS_SLOTS],
    pub(crate) links: Links,
    pub(crate) ready: Ready,
    pub(crate) timers: Timers,
    pub(crate) ports: Ports,
    pub(crate) buffers: Buffers,
    /// Transfers ever asked for.
    pub(crate) transfer_serial: u64,
    pub(crate) agents: Agents,
    /// What the hardware does wrong.
    pub(crate) broken: Broken,
    /// The slot that runs; 0 while nobody does.
    pub(crate) current: usize,
    /// Somebody more urgent is ready, or the running process has had its share.
    pub(crate) preempt: bool,
    /// Kernel entries until the next tick; where the APIC has the clock, never less.
    pub(crate) left: u32,
    /// Records that fit into the trace ring for sure.
    trace_room: u32,
    /// Who attends to the timer's interrupt.
    pub(crate) timer: TimerInterrupt,
    pub(crate) first_free_loan: usize,
    pub(crate) loan_serial: u32,
    pub(crate) spawn_serial: u64,
    pub(crate) grant_serial: u32,
    pub(crate) kernel_root: Frame,
    /// A page that somebody has reserved could not be given during the present system call.
    pub(crate) starved: bool,
    /// Where a function that was called by phone returns to.
    pub(crate) phone_end: u64,
}

impl<H: Hardware> Kernel<H> {
    /// A kernel with no processes yet.
    pub fn new(
        hw: H,
        tables: Tables,
        pager: Pager,
        module: Module,
        params: Params,
        kernel_root: Frame,
    ) -> Self {
        let left = params.tick_entries;
        let buffers = Buffers::new(params.buffers);
        let Tables { info, processes, loans, ring, flows, gates, services } = tables;
        let mut kernel = Self {
            hw,
            info,
            processes,
            loans,
            ring,
            flows,
            gates,
            services,
            pager,
            module,
            params,
            slots: Slots::new(),
            descriptors: [0; PROCESS_SLOTS],
            links: Links::new(),
            ready: Ready::new(),
            timers: Timers::new(),
            ports: Ports::new(),
            buffers,
            transfer_serial: 0,
            agents: Agents::default(),
            broken: Broken::default(),
            current: 0,
            preempt: false,
            left,
            trace_room: 0,
            timer: TimerInterrupt::default(),
            first_free_loan: 0,
            loan_serial: 0,
            spawn_serial: 0,
            grant_serial: 0,
            kernel_root,
            starved: false,
            phone_end: 0,
        };
        kernel.pager.watch(kernel.params.low_water);
        kernel.info.watchdog_ticks = kernel.params.load[abi::syscall::Load::Watchdog as usize];
        kernel.info.buffers_limit = kernel.params.buffers;
        kernel.publish_frames();
        let (frames, seed) = (u64::from(kernel.info.frames), kernel.params.seed);
        kernel.emit(Kind::Boot, Pid::NONE, abi::info::VERSION, frames, seed);
        kernel
    }

    /// One kernel entry: the registers of the process that made it are in its descriptor. On return the machine
    /// resumes whoever was chosen.
    pub fn enter(&mut self) {
        self.info.entries += 1;
        let (slot, tick) = (self.current, self.info.tick);
        let process = self.process(slot);
        process.d.entries += 1;
        let (vector, pid) = (process.d.context.vector, process.d.pid);
        if vector != VECTOR_TIMER {
            process.d.seen = tick;
        }
        self.pass_time(pid, vector);
        // The host may have had the process ended at the tick.
        if self.current == slot {
            if vector == VECTOR_SYSCALL || (vector == VECTOR_PAGE_FAULT && self.mend_syscall(slot)) {
                self.system_call(slot);
            } else {
                self.exception(slot, vector);
            }
        }
        if self.preempt || self.current == 0 {
            self.schedule();
        }
    }

    #[inline(never)]
    fn exception(&mut self, slot: usize, vector: u64) {
        match vector {
            VECTOR_PAGE_FAULT => self.page_fault(slot),
            VECTOR_TIMER => {}
            _ => self.fault(slot, vector as u32, 0),
        }
    }

    /// A system call that has arrived as a page fault becomes what it is; says whether it was one.
    #[inline(always)]
    fn mend_syscall(&mut self, slot: usize) -> bool {
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
        self.info.quirks |= QUIRK_SYSCALL_FAULTS;
        true
    }

    /// The clock, below the scheduler as a hardware timer would be. The virtual one counts kernel entries, all but those
    /// that serve the timer itself: they would raise the next interrupt while they acknowledge the last.
    fn pass_time(&mut self, pid: Pid, vector: u64) {
        if vector == VECTOR_TIMER {
            self.hw.end_interrupt();
            self.tick(1);
        } else if self.params.clock == Clock::Virtual && pid != self.timer.attendant {
            self.left -= 1;
            if self.left == 0 {
                self.strike();
            }
        }
    }

    /// The clock strikes: time moves on, but for an interrupt that comes in between.
    #[inline(never)]
    fn strike(&mut self) {
        if self.broken.rest == 0 {
            return self.tick(1);
        }
        self.left = core::mem::take(&mut self.broken.rest);
        self.timer_interrupt();
    }

    /// Time moves on: the doorbell, the host's commands, then the timer's interrupt.
    #[inline(never)]
    pub(crate) fn tick(&mut self, ticks: u64) {
        self.left = self.params.tick_entries;
        // A program may sleep until the end of time, which stands still then.
        self.info.tick = self.info.tick.saturating_add(ticks);
        let (features, _) = self.hw.host();
        if features & HOST_LISTENS != 0 {
            self.hw.ring(Doorbell::Tick.value(GuestPhys(0)));
        }
        self.take_commands();
        if self.broken.late.is_some() {
            self.late_arrival();
        }
        self.timer_interrupt();
    }

    /// Nobody can run: take down what is pending, then jump to the next timer, or wait for the real one.
    pub(crate) fn idle(&mut self) {
        self.info.current = Pid::NONE;
        self.hw.load_root(self.kernel_root);
        self.teardown_all();
        if self.params.clock == Clock::Apic {
            self.hw.wait_for_interrupt();
            return self.tick(1);
        }
        let rest = core::mem::take(&mut self.broken.rest);
        if rest != 0 {
            self.left += rest;
            return self.timer_interrupt();
        }
        let now = self.info.tick;
        let ticks = self.timers.next_due().map_or(1, |due| due.saturating_sub(now).max(1));
        self.tick(ticks);
    }

    /// Writes an event into the trace; a full ring is drained first, so that nothing is lost where somebody listens.
    #[inline(always)]
    pub(crate) fn emit(&mut self, kind: Kind, pid: Pid, a: u32, b: u64, c: u64) {
        if self.trace_room == 0 {
            self.make_trace_room();
        }
        self.trace_room -= 1;
        let at = self.info.trace_head as usize % TRACE_SLOTS;
        self.ring[at] = Record { tick: self.info.tick as u32, kind: kind as u16, reserved: 0, pid, a, b, c };
        self.info.trace_head += 1;
    }

    /// The ring is full for all that is known: looks how far the host has come, and has it drained if it is full indeed.
    #[cold]
    #[inline(never)]
    fn make_trace_room(&mut self) {
        const ALL: u64 = TRACE_SLOTS as u64;
        let (features, tail) = self.hw.host();
        let mut waiting = self.info.trace_head - tail;
        if features & HOST_LISTENS == 0 {
            waiting = 0;
        } else if waiting >= ALL {
            self.hw.ring(Doorbell::TraceFull.value(GuestPhys(0)));
            waiting = self.info.trace_head - self.hw.host().1;
        }
        // A host that has not made room is asked again each time.
        self.trace_room = ALL.saturating_sub(waiting).max(1) as u32;
    }

    /// The process in a slot that has one.
    #[inline(always)]
    pub(crate) fn process(&mut self, slot: usize) -> &mut Process {
        let frame = Frame(u64::from(self.descriptors[slot]));
        Self::process_in(&mut self.hw, frame)
    }

    #[inline(always)]
    pub(crate) fn process_in(hw: &mut H, frame: Frame) -> &mut Process {
        let bytes = hw.page(frame).as_mut_bytes();
        match Process::mut_from_prefix(bytes) {
            Ok((process, _)) => process,
            // A frame is aligned and larger than a descriptor.
            Err(_) => unreachable!(),
        }
    }

    /// Shows the pager's numbers to the outside.
    pub(crate) fn publish_frames(&mut self) {
        self.info.free_frames = self.pager.free_frames();
        self.info.quarantined = self.pager.quarantined();
        self.info.epoch = self.pager.epoch();
    }
}
