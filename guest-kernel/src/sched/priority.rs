//! The fix of priorities: a waiting client lends its priority to its server, and a process that has waited
//! too long for the CPU is lifted.

use abi::Pid;
use abi::trace::Kind;

use super::Scheduler;
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::base::process::PRIORITIES;

/// Ticks in the queue after which a process is lifted by a priority, and once more after as many again.
const OLD: u64 = 32;

impl<H: Hardware> Scheduler<H> {
    /// Lends the process's priority to the one that it waits for.
    #[inline(never)]
    pub(super) fn set_peer(&mut self, slot: Slot, peer: Pid) {
        let process = self.process(slot);
        let before = core::mem::replace(&mut process.d.peer, peer);
        let (pid, level) = (process.d.pid, lent_level(process.d.effective));
        if let Some(lender_of) = self.find(before) {
            let lent = &mut self.process(lender_of).lent[level];
            *lent = lent.saturating_sub(1);
            self.refresh_priority(lender_of, pid);
        }
        if let Some(server) = self.find(peer) {
            let lent = &mut self.process(server).lent[level];
            *lent = lent.saturating_add(1);
            self.refresh_priority(server, pid);
        }
    }

    /// Recomputes the effective priority, then that of the process it waits for, and so on. Ends even if they
    /// wait for each other in a circle: it continues only while priorities change, and all change in one
    /// direction.
    pub(super) fn refresh_priority(&mut self, slot: Slot, by: Pid) {
        let (mut slot, mut by) = (slot, by);
        loop {
            let process = self.process(slot);
            let lent = process.lent.iter().position(|count| *count != 0).unwrap_or(PRIORITIES) as u8;
            let (before, after) = (process.d.effective, process.own_priority().min(lent));
            if before == after {
                return;
            }
            let (pid, peer, queued) = (process.d.pid, process.d.peer, process.queued != 0);
            if queued {
                self.leave_ready(slot);
            }
            self.process(slot).d.effective = after;
            self.emit(Kind::Boosted, pid, u32::from(after), u64::from(by.0), 0);
            if queued {
                self.enter_ready(slot);
            }
            let Some(server) = self.find(peer) else { return };
            let lent = &mut self.process(server).lent;
            lent[lent_level(before)] = lent[lent_level(before)].saturating_sub(1);
            lent[lent_level(after)] = lent[lent_level(after)].saturating_add(1);
            (slot, by) = (server, pid);
        }
    }

    /// Lifts processes that have waited too long for the CPU, of each queue the first.
    pub(crate) fn lift_the_old(&mut self) {
        let (now, attendant) = (self.now(), self.attendant);
        let mut places = self.ready.occupied;
        while places != 0 {
            let place = places.trailing_zeros() as usize;
            places &= places - 1;
            let slot = self.ready.queues[place].first();
            let process = self.process(slot);
            if now.saturating_sub(process.d.since) <= OLD * (u64::from(process.lifted) + 1) {
                continue;
            }
            process.lifted += 1;
            self.refresh_priority(slot, attendant);
            // If it was lent a higher priority already, only its class changes.
            let process = self.process(slot);
            if usize::from(process.queued) != process.place() + 1 {
                self.leave_ready(slot);
                self.enter_ready(slot);
            }
        }
    }
}

/// The level that a priority lends.
fn lent_level(priority: u8) -> usize {
    usize::from(priority).min(PRIORITIES - 1)
}
