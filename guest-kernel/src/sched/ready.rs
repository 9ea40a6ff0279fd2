//! The ready queues: processes that wait for the CPU, ordered by priority and predicted burst.
//!
//! The next burst is predicted from the last: an exponential average (Silberschatz, Galvin, Gagne, "Operating
//! System Concepts", 5.3.2).

use crate::base::index::Slot;
use crate::base::process::PRIORITIES;
use crate::base::queue::{Links, Queue};

/// Classes of predicted bursts in each priority.
pub(super) const CLASSES: usize = 4;
/// The longest burst that is told from longer ones, in kernel entries: its sixteenths can be added without
/// overflow.
pub(super) const LONGEST_BURST: u64 = 1 << 26;

/// The next prediction, from the last one and what the burst came to: half of each, rounded up. In
/// sixteenths.
pub(super) const fn predict(predicted: u32, actual: u32) -> u32 {
    predicted.saturating_add(actual).saturating_add(1) / 2
}

/// The class of a burst given in sixteenths: up to 1, 3, 8 entries, to the nearest; or more.
pub(super) const fn class(burst: u32) -> usize {
    match burst {
        0..24 => 0,
        24..56 => 1,
        56..136 => 2,
        _ => 3,
    }
}

/// Processes that wait for the CPU: a queue for each class of each priority, and a bit for each queue that is
/// not empty.
pub(crate) struct Ready {
    pub(super) queues: [Queue; PRIORITIES * CLASSES],
    pub(super) occupied: u32,
}

const _: () = assert!(PRIORITIES * CLASSES == u32::BITS as usize);

impl Ready {
    /// Creates empty queues.
    pub(super) const fn new() -> Self {
        Self { queues: [Queue::EMPTY; PRIORITIES * CLASSES], occupied: 0 }
    }

    /// The queue for a priority and a class.
    pub(super) fn place(priority: u8, class: usize) -> usize {
        usize::from(priority).min(PRIORITIES - 1) * CLASSES + class
    }

    /// Adds a process.
    pub(super) fn push(&mut self, links: &mut Links, slot: Slot, place: usize) {
        links.push(&mut self.queues[place], slot);
        self.occupied |= 1 << place;
    }

    /// Takes the next.
    pub(super) fn pop(&mut self, links: &mut Links) -> Option<Slot> {
        if self.occupied == 0 {
            return None;
        }
        let place = self.occupied.trailing_zeros() as usize;
        let slot = links.pop(&mut self.queues[place]);
        self.note_emptied(place);
        slot
    }

    /// Takes a process out of its queue; says whether it was there.
    pub(super) fn remove(&mut self, links: &mut Links, slot: Slot, place: usize) -> bool {
        let there = links.remove(&mut self.queues[place], slot);
        self.note_emptied(place);
        there
    }

    fn note_emptied(&mut self, place: usize) {
        if self.queues[place].is_empty() {
            self.occupied &= !(1 << place);
        }
    }

    /// Whether a process waits that is at least as urgent as `priority`.
    pub(super) fn any_at(&self, priority: u8) -> bool {
        (self.occupied.trailing_zeros() as usize) < Self::place(priority, CLASSES)
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
impl Ready {
    /// The queues, the most urgent first, each with its priority and class.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (usize, usize, Queue)> {
        let marked = |place: usize| self.occupied >> place & 1 != 0;
        assert!(self.queues.iter().enumerate().all(|(place, queue)| queue.is_empty() != marked(place)));
        self.queues.iter().enumerate().map(|(place, queue)| (place / CLASSES, place % CLASSES, *queue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    #[test]
    fn urgent_ones_come_first_then_short_ones_and_equals_in_turn() {
        let (mut links, mut ready) = (Links::new(), Ready::new());
        for (slot, priority, class) in [(1, 3, 1), (2, 1, 3), (3, 3, 1), (4, 200, 0), (5, 3, 0)] {
            ready.push(&mut links, Slot::new(slot), Ready::place(priority, class));
        }
        assert!(ready.any_at(1) && !ready.any_at(0) && ready.any_at(255));
        let order: [_; 6] = core::array::from_fn(|_| ready.pop(&mut links).map(Slot::index));
        assert_eq!(order, [Some(2), Some(5), Some(1), Some(3), Some(4), None]);
        assert!(!ready.any_at(255));
    }

    #[test]
    fn bursts_belong_to_the_class_of_the_nearest_number_of_entries() {
        let classes = [0, 1, 2, 3, 4, 8, 9, 1000].map(|entries| class(entries * 16));
        assert_eq!(classes, [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!([class(23), class(24), class(u32::MAX)], [0, 1, 3]);
    }

    proptest! {
        #[test]
        fn the_prediction_of_equal_bursts_is_right_to_a_sixteenth_of_an_entry(
            start in 0u32..=LONGEST_BURST as u32 * 16, entries in 0u32..1000
        ) {
            let mut predicted = start;
            let mut wrong = predicted.abs_diff(entries * 16);
            for _ in 0..40 {
                predicted = predict(predicted, entries * 16);
                // Half the error, rounded, each time.
                prop_assert!(predicted.abs_diff(entries * 16) <= wrong.div_ceil(2));
                wrong = predicted.abs_diff(entries * 16);
            }
            prop_assert!(wrong <= 1);
            prop_assert_eq!(class(predicted), class(entries * 16));
        }

        #[test]
        fn a_prediction_lies_between_the_last_one_and_what_came(predicted in any::<u32>(), entries in 0..LONGEST_BURST) {
            let actual = entries as u32 * 16;
            let next = predict(predicted, actual);
            prop_assert!(next >= predicted.min(actual).min(u32::MAX / 2) && next <= predicted.max(actual));
        }

        #[test]
        fn the_ready_queues_are_deques_searched_in_order(
            steps in prop::collection::vec((0u8..4, 0u8..10, 0..CLASSES, 1usize..30), 0..300)
        ) {
            let (mut links, mut ready) = (Links::new(), Ready::new());
            let mut model: Vec<VecDeque<Slot>> = (0..PRIORITIES * CLASSES).map(|_| VecDeque::new()).collect();
            for (what, priority, class, slot) in steps {
                let slot = Slot::new(slot);
                let place = Ready::place(priority, class);
                match what {
                    0 | 1 if !model.iter().any(|queue| queue.contains(&slot)) => {
                        ready.push(&mut links, slot, place);
                        model[place].push_back(slot);
                    }
                    2 => prop_assert_eq!(ready.pop(&mut links), model.iter_mut().find_map(VecDeque::pop_front)),
                    _ => {
                        let there = model[place].iter().position(|each| *each == slot);
                        prop_assert_eq!(ready.remove(&mut links, slot, place), there.is_some());
                        there.map(|at| model[place].remove(at));
                    }
                }
                for (priority, class, queue) in ready.queues() {
                    let members: Vec<_> = model[priority * CLASSES + class].iter().copied().collect();
                    prop_assert_eq!(links.members(queue), members);
                }
                let any = model[..=Ready::place(priority, CLASSES - 1)].iter().any(|queue| !queue.is_empty());
                prop_assert_eq!(ready.any_at(priority), any);
            }
        }
    }
}
