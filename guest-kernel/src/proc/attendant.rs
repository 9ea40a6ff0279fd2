//! The timer's interrupt, and what is due at it. (In the story: the Oracle.)
//!
//! The clock raises the interrupt, whichever process runs. A kernel process, the most urgent of all, attends
//! to it: its system call expires the timers that are due and lifts processes that have waited too long.
//! Until it has acknowledged an interrupt, further ones are held back and only counted. While no process
//! attends yet, the same work is done on the spot.
//!
//! It is a process because much can be due at once: its work is accounted for and ordered like all other
//! work, and does not stretch another process's system call.

use abi::Pid;
use abi::process::{Descriptor, State};
use abi::syscall::Error;
use abi::trace::Kind;

use super::{KILLED, Processes};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;

impl<H: Hardware> Processes<H> {
    /// The clock raises the timer's interrupt.
    pub(crate) fn timer_interrupt(&mut self) {
        if self.timer.is_lost() {
            return;
        }
        let pid = self.attendant();
        if pid == Pid::NONE {
            self.do_what_is_due();
            self.end_share();
            return;
        }
        if !self.timer.raise() {
            self.counters().missed += 1;
            let missed = self.counters().missed;
            self.emit(Kind::Missed, pid, 0, missed, 0);
            return;
        }
        if let Some(slot) = self.find(pid)
            && self.process(slot).d.state == State::Attending as u8
        {
            // An interrupt preempts whatever runs, and ends its share.
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
        if self.timer.acknowledge() {
            self.counters().acknowledged += 1;
            self.do_what_is_due();
        }
        self.block(slot, State::Attending);
        Ok(())
    }

    /// Begins the kill of a process that runs in ring 0. It may be in the middle of the kernel's own work, so
    /// only the scheduler ends it: from here on the switch passes it over, and the scheduler's process
    /// completes the kill when it next attends to the timer.
    pub(crate) fn doom(&mut self, victim: Slot, by: Pid) {
        let process = self.process(victim);
        process.d.doomed = 1;
        let pid = process.d.pid;
        self.emit(Kind::Doomed, pid, 0, u64::from(by.0), 0);
        self.timer.doom();
    }

    /// Completes the kills that were begun.
    #[cold]
    #[inline(never)]
    fn end_the_doomed(&mut self) {
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
        if self.timer.take_doom() {
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
        self.timer.lose(count);
    }
}
