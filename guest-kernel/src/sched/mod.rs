//! The scheduler: which process runs next. It owns the ready queues and the timers, and touches states,
//! priorities and accounts in descriptors. The layers above call it. (In the story: the Oracle.)
//!
//! Within a priority the shortest predicted burst runs first, and bursts of about the same length take turns.
//! A *burst* is what a process does from getting the CPU until it waits for something, in kernel entries. The
//! error of each prediction is measured. A process that runs past its prediction counts as what it has shown
//! to be.
//!
//! The CPU changes hands in two ways. The *switch* is the scheduler's: it first takes down the windows that
//! ended loans have left in the next process. The *hand-off* is the message path's: the CPU goes straight to
//! the peer, past the scheduler and so past the teardown, because a message should not pay for it. That is
//! the second place of the design bug: a busy server is almost always entered by hand-off.
//!
//! As built, a process's priority never changes: an urgent client waits for a server that never gets the CPU,
//! and long bursts wait behind short ones without end. There was a good reason: neither can happen while the
//! CPU is idle now and then, and both remedies cost on every path. The fix (`fix.priorities`) lends the
//! waiting client's priority to its server, and lifts processes that have waited too long for the CPU.
//!
//! | file | subject |
//! |---|---|
//! | `ready` | the ready queues, predictions |
//! | `switch` | switch and hand-off, changes of state |
//! | `priority` | the fix: inheritance and ageing |
//! | `timers` | one timer per process |

mod priority;
mod ready;
mod switch;
mod timers;

use abi::Pid;

use crate::base::hardware::Hardware;
use crate::base::layer::layer;
use crate::mem::Memory;
use ready::Ready;
use timers::Timers;

/// The prediction for a process that has not run yet: two entries, in sixteenths.
pub const UNKNOWN_BURST: u32 = 32;
/// The most urgent that a user process can be, by birth or lifted: the scheduler's own process comes before
/// all.
pub const HIGHEST: u8 = 1;

/// The scheduler, on memory.
pub struct Scheduler<H> {
    memory: Memory<H>,
    ready: Ready,
    timers: Timers,
    /// A more urgent process is ready, or the running process has had its share.
    preempt: bool,
    /// The process that attends to the timer's interrupt; [`Pid::NONE`] until one does.
    attendant: Pid,
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
