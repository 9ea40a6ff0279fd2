//! The scheduler's process: acknowledges the timer's interrupt and does what is due. (In the story: the Oracle.)
//!
//! The clock raises the interrupt, whoever runs; a process of its own, the most urgent of all, attends to it: it has the
//! timers that are due expire, and lifts those who have waited too long. Until it has acknowledged an interrupt the next
//! ones are held back and only counted. A kernel in which nobody attends (it is young, or a test's) does the same work
//! on the spot.
//!
//! The reason for a process: what is due may be much, and is then accounted for and ordered like all other work,
//! instead of stretching somebody's system call.

use abi::Pid;
use abi::process::{Descriptor, State};
use abi::syscall::Error;
use abi::trace::Kind;

use super::{KILLED, Processes};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;

/// The timer's interrupt.
#[derive(Default)]
pub(crate) struct TimerInterrupt {
    /// It was raised and is not yet acknowledged.
    raised: bool,
    /// Somebody is to be ended at the next.
    doomed: bool,
    /// So many of the next ones are lost on their way.
    lost: u32,
}

impl<H: Hardware> Processes<H> {
    /// The clock raises the timer's interrupt.
    pub(crate) fn timer_interrupt(&mut self) {
        if self.timer.lost > 0 {
            self.timer.lost -= 1;
            return;
        }
        let pid = self.attendant();
        if pid == Pid::NONE {
            self.do_what_is_due();
            self.end_share();
            return;
        }
        if self.timer.raised {
            self.counters().missed += 1;
            let missed = self.counters().missed;
            self.emit(Kind::Missed, pid, 0, missed, 0);
            return;
        }
        self.timer.raised = true;
        if let Some(slot) = self.find(pid)
            && self.process(slot).d.state == State::Attending as u8
        {
            // An interrupt asks nobody's leave: whoever runs is preempted, and has had its share.
            self.make_ready(slot);
            self.request_switch();
        }
    }

    /// Acknowledges the timer's interrupt, does what is due, waits for the next.
    #[inline(never)]
    pub(crate) fn acknowledge(&mut self, slot: Slot) -> Result<(), Error> {
        let process = self.process(slot);
        let (pid, ring) = (process.d.pid, process.d.ring);
        if ring != 0 || (self.attendant() != Pid::NONE && self.attendant() != pid) {
            return Err(Error::Denied);
        }
        self.set_attendant(pid);
        self.process(slot).d.context.rax = 0;
        if self.timer.raised {
            self.timer.raised = false;
            self.counters().acknowledged += 1;
            self.do_what_is_due();
        }
        self.block(slot, State::Attending);
        Ok(())
    }

    /// Begins the kill of a process that runs in ring 0. It may be in the middle of the kernel's own work, so nobody but
    /// the scheduler ends it: from here on the switch passes it over, and when the scheduler's process next attends to the
    /// timer it completes what was begun.
    pub(crate) fn doom(&mut self, victim: Slot, by: Pid) {
        let process = self.process(victim);
        process.d.doomed = 1;
        let pid = process.d.pid;
        self.emit(Kind::Doomed, pid, 0, u64::from(by.0), 0);
        self.timer.doomed = true;
    }

    /// Completes the kills that were begun.
    #[cold]
    #[inline(never)]
    fn end_the_doomed(&mut self) {
        self.timer.doomed = false;
        for slot in self.slots_used() {
            if !self.is_taken(slot) {
                continue;
            }
            let Descriptor { pid, doomed, state, .. } = self.process(slot).d;
            // It may have ended by itself meanwhile.
            if doomed == 0 || state == State::Zombie as u8 {
                continue;
            }
            let by = self.attendant();
            self.emit(Kind::Kill, pid, 0, u64::from(by.0), 0);
            self.end(slot, KILLED);
        }
    }

    fn do_what_is_due(&mut self) {
        if self.timer.doomed {
            self.end_the_doomed();
        }
        let now = self.now();
        while let Some(slot) = self.timers().expire(now) {
            self.expired(slot);
        }
        if self.params().fix_priorities {
            self.lift_the_old();
        }
    }

    /// Loses the next `count` interrupts on their way.
    pub(crate) fn lose_interrupts(&mut self, count: u32) {
        self.timer.lost = self.timer.lost.saturating_add(count);
    }
}

#[cfg(test)]
impl TimerInterrupt {
    /// Whether the interrupt was raised and is not yet acknowledged.
    pub(crate) fn is_raised(&self) -> bool {
        self.raised
    }

    /// Makes the next interrupt look for processes to be ended.
    pub(crate) fn doom_pending(&mut self) {
        self.doomed = true;
    }
}

#[cfg(test)]
impl<H> Processes<H> {
    /// The timer's interrupt.
    pub(crate) fn timer(&self) -> &TimerInterrupt {
        &self.timer
    }

    /// The timer's interrupt, to be changed.
    pub(crate) fn timer_mut(&mut self) -> &mut TimerInterrupt {
        &mut self.timer
    }
}
