//! The clock. The virtual one counts kernel entries, below the scheduler as a hardware timer would; idle time
//! jumps to the next timer.

use abi::info::{Doorbell, HOST_LISTENS};
use abi::{GuestPhys, Pid};

use super::{Kernel, VECTOR_TIMER};
use crate::base::hardware::Hardware;
use crate::base::params::Clock;

impl<H: Hardware> Kernel<H> {
    /// Lets the clock run, below the scheduler as a hardware timer would. The virtual one counts kernel
    /// entries, except those that serve the timer itself: they would raise the next interrupt while they
    /// acknowledge the last.
    pub(super) fn pass_time(&mut self, pid: Pid, vector: u64) {
        if vector == VECTOR_TIMER {
            self.hw().end_interrupt();
            self.tick(1);
        } else if self.params().clock == Clock::Virtual && pid != self.attendant() {
            self.left -= 1;
            if self.left == 0 {
                self.strike();
            }
        }
    }

    /// Moves time on by a tick, unless an ordered interrupt comes in between.
    #[inline(never)]
    fn strike(&mut self) {
        if self.rest == 0 {
            return self.tick(1);
        }
        self.left = core::mem::take(&mut self.rest);
        self.timer_interrupt();
    }

    /// Moves time on: the doorbell, the host's commands, then the timer's interrupt.
    #[inline(never)]
    pub(crate) fn tick(&mut self, ticks: u64) {
        self.left = self.params().tick_entries;
        // A program may sleep until the end of time, which stands still then.
        self.info_mut().tick = self.due_in(ticks);
        let (features, _) = self.hw().host();
        if features & HOST_LISTENS != 0 {
            self.hw().ring(Doorbell::Tick.value(GuestPhys(0)));
        }
        self.take_commands();
        if self.impairment().is_late() {
            self.deliver_late();
        }
        self.timer_interrupt();
    }

    /// No process can run: take down what is pending, then jump to the next timer, or wait for the real one.
    pub(crate) fn idle(&mut self) {
        self.info_mut().current = Pid::NONE;
        let root = self.kernel_root();
        self.hw().load_root(root);
        self.teardown_all();
        if self.params().clock == Clock::Apic {
            self.hw().wait_for_interrupt();
            return self.tick(1);
        }
        let rest = core::mem::take(&mut self.rest);
        if rest != 0 {
            self.left += rest;
            return self.timer_interrupt();
        }
        let now = self.now();
        let ticks = self.timers().next_due().map_or(1, |due| due.saturating_sub(now).max(1));
        self.tick(ticks);
    }
}
