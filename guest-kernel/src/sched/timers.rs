//! Timers: at most one for each process, in order of their ticks; equal ticks in order of setting.

use crate::base::index::Slot;
use abi::process::PROCESS_SLOTS;

/// All running timers.
pub(crate) struct Timers {
    first: u16,
    next: [u16; PROCESS_SLOTS],
    /// When the slot's timer is due; 0 where none runs.
    due: [u64; PROCESS_SLOTS],
}

impl Timers {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { first: 0, next: [0; PROCESS_SLOTS], due: [0; PROCESS_SLOTS] }
    }

    /// Starts the timer of `slot`, which has none, for tick `due` (not 0).
    #[inline(never)]
    pub(crate) fn set(&mut self, slot: Slot, due: u64) {
        let (mut before, mut here) = (0, usize::from(self.first));
        while here != 0 && self.due[here] <= due {
            before = here;
            here = usize::from(self.next[here]);
        }
        self.due[slot.index()] = due;
        self.next[slot.index()] = here as u16;
        if before == 0 {
            self.first = slot.index() as u16;
        } else {
            self.next[before] = slot.index() as u16;
        }
    }

    /// Stops the timer of `slot`, if it has one.
    pub(crate) fn cancel(&mut self, slot: Slot) {
        if self.due[slot.index()] == 0 {
            return;
        }
        self.due[slot.index()] = 0;
        let after = self.next[slot.index()];
        if usize::from(self.first) == slot.index() {
            self.first = after;
            return;
        }
        let mut here = usize::from(self.first);
        while usize::from(self.next[here]) != slot.index() {
            here = usize::from(self.next[here]);
        }
        self.next[here] = after;
    }

    /// The tick of the next timer.
    pub(crate) fn next_due(&self) -> Option<u64> {
        (self.first != 0).then(|| self.due[usize::from(self.first)])
    }

    /// Takes one timer that is due at `now`.
    pub(crate) fn expire(&mut self, now: u64) -> Option<Slot> {
        let slot = Slot::new(usize::from(self.first));
        if slot.is_none() || self.due[slot.index()] > now {
            return None;
        }
        self.first = self.next[slot.index()];
        self.due[slot.index()] = 0;
        Some(slot)
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
impl Timers {
    /// All timers, as slot and tick, in the order in which they will expire.
    pub(crate) fn list(&self) -> std::vec::Vec<(Slot, u64)> {
        let some = |slot: &usize| *slot != 0;
        let next = |slot: &usize| Some(usize::from(self.next[*slot])).filter(some);
        let all = core::iter::successors(Some(usize::from(self.first)).filter(some), next);
        all.take(PROCESS_SLOTS).map(|slot| (Slot::new(slot), self.due[slot])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn timers_expire_in_order_and_only_when_due(
            steps in prop::collection::vec((0u8..4, 1usize..30, 1u64..50), 0..200)
        ) {
            let mut timers = Timers::new();
            let mut model: Vec<(u64, Slot)> = Vec::new();
            let mut now = 0;
            for (what, slot, amount) in steps {
                let slot = Slot::new(slot);
                match what {
                    0 | 1 => {
                        timers.cancel(slot);
                        model.retain(|(_, s)| *s != slot);
                        timers.set(slot, now + amount);
                        model.push((now + amount, slot));
                        model.sort_by_key(|(due, _)| *due);
                    }
                    2 => {
                        timers.cancel(slot);
                        model.retain(|(_, s)| *s != slot);
                    }
                    _ => {
                        now += amount;
                        while let Some(slot) = timers.expire(now) {
                            prop_assert_eq!(model.remove(0).1, slot);
                        }
                        prop_assert!(model.iter().all(|(due, _)| *due > now));
                    }
                }
                prop_assert_eq!(timers.next_due(), model.first().map(|(due, _)| *due));
            }
        }
    }
}
