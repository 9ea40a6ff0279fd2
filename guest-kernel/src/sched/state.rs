//! The state of the scheduler: what its files share.

use abi::Pid;

use super::ready::Ready;
use super::timers::Timers;
use crate::base::hardware::Hardware;
use crate::base::layer::layer;
use crate::mem::Memory;

/// The prediction for a process that has not run yet: two entries, in sixteenths.
pub const UNKNOWN_BURST: u32 = 32;
/// The most urgent that a user process can be, by birth or lifted: the scheduler's own process comes before
/// all.
pub const HIGHEST: u8 = 1;

/// The scheduler, on memory.
pub struct Scheduler<H> {
    pub(super) memory: Memory<H>,
    pub(super) ready: Ready,
    pub(super) timers: Timers,
    /// A more urgent process is ready, or the running process has had its share.
    pub(super) preempt: bool,
    /// The process that attends to the timer's interrupt; [`Pid::NONE`] until one does.
    pub(super) attendant: Pid,
}

layer!(Scheduler over Memory in memory);

impl<H: Hardware> Scheduler<H> {
    /// Creates the layer.
    #[inline(always)]
    pub(crate) fn new(memory: Memory<H>) -> Self {
        Self { memory, ready: Ready::new(), timers: Timers::new(), preempt: false, attendant: Pid::NONE }
    }

    /// The timers of processes.
    #[inline(always)]
    pub(crate) fn timers(&mut self) -> &mut Timers {
        &mut self.timers
    }

    /// Asks for a switch at the end of the present kernel entry.
    #[inline(always)]
    pub(crate) fn request_switch(&mut self) {
        self.preempt = true;
    }

    /// Whether the present kernel entry must end with a switch.
    #[inline(always)]
    pub(crate) fn needs_switch(&self) -> bool {
        self.preempt || self.current().is_none()
    }

    /// The process that attends to the timer's interrupt; [`Pid::NONE`] until one does.
    #[inline(always)]
    pub(crate) fn attendant(&self) -> Pid {
        self.attendant
    }

    /// Makes a process the one that attends to the timer's interrupt.
    pub(crate) fn set_attendant(&mut self, pid: Pid) {
        self.attendant = pid;
    }
}

#[cfg(test)]
impl<H> Scheduler<H> {
    /// The running timers, as slot and tick, in the order in which they will expire.
    pub(crate) fn running_timers(&self) -> std::vec::Vec<(crate::base::index::Slot, u64)> {
        self.timers.list()
    }

    /// The ready queues.
    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }
}
