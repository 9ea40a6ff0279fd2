//! Queues of processes: first in, first out, linked through one table, since a process waits in one place at
//! a time.

use super::index::Slot;
use abi::process::PROCESS_SLOTS;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The links of all queues. Slot 0 is never a process and ends a list.
pub struct Links {
    next: [u16; PROCESS_SLOTS],
}

/// One queue. Empty when `first` is 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Queue {
    first: u16,
    last: u16,
}

impl Links {
    /// No links.
    pub const fn new() -> Self {
        Self { next: [0; PROCESS_SLOTS] }
    }

    /// Adds `slot` at the end. The caller sees to it that it is in no queue.
    pub fn push(&mut self, queue: &mut Queue, slot: Slot) {
        self.next[slot.index()] = 0;
        if queue.first == 0 {
            queue.first = slot.index() as u16;
        } else {
            self.next[usize::from(queue.last)] = slot.index() as u16;
        }
        queue.last = slot.index() as u16;
    }

    /// Takes the first.
    pub fn pop(&mut self, queue: &mut Queue) -> Option<Slot> {
        let slot = queue.first();
        if slot.is_none() {
            return None;
        }
        queue.first = self.next[slot.index()];
        Some(slot)
    }

    /// Takes `slot` out of the middle; says whether it was there.
    pub fn remove(&mut self, queue: &mut Queue, slot: Slot) -> bool {
        let (mut before, mut here) = (0, usize::from(queue.first));
        while here != 0 {
            let next = self.next[here];
            if here == slot.index() {
                if before == 0 {
                    queue.first = next;
                } else {
                    self.next[before] = next;
                }
                if usize::from(queue.last) == slot.index() {
                    queue.last = before as u16;
                }
                return true;
            }
            before = here;
            here = usize::from(next);
        }
        false
    }
}

impl Default for Links {
    fn default() -> Self {
        Self::new()
    }
}

impl Queue {
    /// An empty queue.
    pub const EMPTY: Self = Self { first: 0, last: 0 };

    /// The process that waits longest, if there is one.
    pub const fn first(&self) -> Slot {
        Slot::new(self.first as usize)
    }

    /// Whether it is empty.
    pub const fn is_empty(&self) -> bool {
        self.first == 0
    }
}

#[cfg(test)]
impl Links {
    /// The processes in a queue, in their order.
    pub(crate) fn members(&self, queue: Queue) -> std::vec::Vec<Slot> {
        let some = |slot: &Slot| !slot.is_none();
        let next = |slot: &Slot| Some(Slot::new(self.next[slot.index()].into())).filter(some);
        core::iter::successors(Some(queue.first()).filter(some), next).take(PROCESS_SLOTS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn two_queues_behave_like_two_deques(steps in prop::collection::vec((0u8..3, 0usize..2, 1usize..20), 0..200)) {
            let mut links = Links::new();
            let mut queues = [Queue::EMPTY; 2];
            let mut model: [VecDeque<Slot>; 2] = Default::default();
            for (what, which, slot) in steps {
                let slot = Slot::new(slot);
                match what {
                    0 if !model.iter().any(|m| m.contains(&slot)) => {
                        links.push(&mut queues[which], slot);
                        model[which].push_back(slot);
                    }
                    1 => prop_assert_eq!(links.pop(&mut queues[which]), model[which].pop_front()),
                    _ => {
                        let there = model[which].iter().position(|s| *s == slot);
                        prop_assert_eq!(links.remove(&mut queues[which], slot), there.is_some());
                        there.map(|at| model[which].remove(at));
                    }
                }
                prop_assert_eq!(queues[which].is_empty(), model[which].is_empty());
            }
            for which in 0..2 {
                let rest: Vec<_> = core::iter::from_fn(|| links.pop(&mut queues[which])).collect();
                prop_assert_eq!(rest, model[which].iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
