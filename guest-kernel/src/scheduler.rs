//! Scheduler: within a priority the shortest predicted burst first, and in turn among those of about the same. (In the
//! story: the Oracle; its process is in [`crate::oracle`].)
//!
//! A *burst* is what a process does from getting the CPU until it waits for something, in kernel entries. The next one
//! is predicted from the last: an exponential average (Silberschatz, Galvin, Gagne, "Operating System Concepts", 5.3.2),
//! and what the prediction is wrong by is measured. A process that runs on past its prediction counts as what it has
//! shown to be.
//!
//! The CPU changes hands in two ways. The *switch* is the scheduler's: it first takes down the windows that the next
//! process has still standing from ended loans. The *hand-off* is the message path's: the CPU goes straight to the
//! peer, past the scheduler and so past the teardown, because a message should not pay for it. That is the second
//! place of the design bug: a busy server is entered by hand-off almost always.
//!
//! As built, a priority is a number that a process was given once: an urgent client waits for a server that never gets
//! the CPU, and long bursts wait behind short ones for ever. Both were left out for a good reason: neither can happen
//! while the CPU is idle now and then, and both cost on every path. The fix (`fix.priorities`) lends the waiting
//! client's priority to its server, and lifts whoever waits for the CPU too long.

use abi::Pid;
use abi::info::Info;
use abi::layout::{KERNEL_CS, KERNEL_SS, USER_CS, USER_SS};
use abi::process::{DESCRIPTOR_MAGIC, State};
use abi::trace::Kind;

use crate::hardware::Hardware;
use crate::kernel::Kernel;
use crate::process::Process;
use crate::queue::{Links, Queue};

/// Priorities: 0 is the most urgent.
pub const PRIORITIES: usize = 8;
/// Classes of predicted bursts in each priority.
pub const CLASSES: usize = 4;
/// The prediction for a process that has not run yet: two entries, in sixteenths.
pub const UNKNOWN_BURST: u32 = 32;
/// Ticks in the queue after which a process is lifted by a priority, and once more after as many again.
const OLD: u64 = 32;
/// The most urgent that a user process can be, by birth or lifted: the scheduler's own process comes before all.
pub const HIGHEST: u8 = 1;
/// The longest burst that is told from longer ones, in kernel entries: its sixteenths can be added without overflow.
const LONGEST_BURST: u64 = 1 << 26;

/// States in which a process waits for others, by their numbers.
const WAITS_FOR_OTHERS: u32 = 1 << State::Ready as u32
    | 1 << State::Sending as u32
    | 1 << State::AwaitingReply as u32
    | 1 << State::Gated as u32
    | 1 << State::Collecting as u32;

/// The next prediction, from the last one and what the burst came to: half of each, rounded up. In sixteenths.
pub const fn predict(predicted: u32, actual: u32) -> u32 {
    predicted.saturating_add(actual).saturating_add(1) / 2
}

/// The class of a burst given in sixteenths: up to 1, 3, 8 entries, to the nearest; or more.
pub const fn class(burst: u32) -> usize {
    match burst {
        0..24 => 0,
        24..56 => 1,
        56..136 => 2,
        _ => 3,
    }
}

/// Who waits for the CPU: a queue for each class of each priority, and a bit for each queue that is not empty.
pub struct Ready {
    queues: [Queue; PRIORITIES * CLASSES],
    occupied: u32,
}

const _: () = assert!(PRIORITIES * CLASSES == u32::BITS as usize);

impl Ready {
    /// Nobody.
    pub const fn new() -> Self {
        Self { queues: [Queue::EMPTY; PRIORITIES * CLASSES], occupied: 0 }
    }

    /// The queue for a priority and a class.
    pub fn place(priority: u8, class: usize) -> usize {
        usize::from(priority).min(PRIORITIES - 1) * CLASSES + class
    }

    /// Adds a process.
    pub fn push(&mut self, links: &mut Links, slot: usize, place: usize) {
        links.push(&mut self.queues[place], slot);
        self.occupied |= 1 << place;
    }

    /// Takes the next.
    pub fn pop(&mut self, links: &mut Links) -> Option<usize> {
        if self.occupied == 0 {
            return None;
        }
        let place = self.occupied.trailing_zeros() as usize;
        let slot = links.pop(&mut self.queues[place]);
        self.note_emptied(place);
        slot
    }

    /// Takes a process out of its queue; says whether it was there.
    pub fn remove(&mut self, links: &mut Links, slot: usize, place: usize) -> bool {
        let there = links.remove(&mut self.queues[place], slot);
        self.note_emptied(place);
        there
    }

    fn note_emptied(&mut self, place: usize) {
        if self.queues[place].is_empty() {
            self.occupied &= !(1 << place);
        }
    }

    /// Whether somebody waits who is at least as urgent as `priority`.
    pub fn any_at(&self, priority: u8) -> bool {
        (self.occupied.trailing_zeros() as usize) < Self::place(priority, CLASSES)
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self::new()
    }
}

impl Process {
    /// How long its present burst has been so far, in sixteenths.
    #[inline(always)]
    fn burst(&self) -> u32 {
        self.d.entries.wrapping_sub(self.burst_from).min(LONGEST_BURST) as u32 * 16
    }

    /// Where it waits for the CPU: by the prediction, or by what it has already run if that is more. Who was lifted for
    /// its age has waited behind short bursts long enough.
    #[inline(always)]
    fn place(&self) -> usize {
        let class = if self.lifted == 0 { class(self.burst().max(self.d.predicted)) } else { 0 };
        Ready::place(self.d.effective, class)
    }

    /// The priority that it has by itself and by its age.
    pub(crate) fn own_priority(&self) -> u8 {
        let priority = self.d.priority;
        priority.saturating_sub(self.lifted as u8).max(HIGHEST.min(priority))
    }

    /// A new state, with what is kept account of: since when, how long it has waited for others, its bursts. Gives the
    /// levels by which it was lifted and is not any more.
    #[inline(always)]
    fn set_state(&mut self, state: State, info: &mut Info) -> u16 {
        let (now, before) = (info.tick, self.d.state);
        if WAITS_FOR_OTHERS >> (before & 31) & 1 != 0 {
            self.d.waited += now.saturating_sub(self.d.since);
        }
        self.d.since = now;
        self.d.state = state as u8;
        self.queued = 0;
        if before != State::Running as u8 {
            return 0;
        }
        if !matches!(state, State::Ready | State::Zombie) {
            let wrong = self.end_burst();
            info.counters.bursts += 1;
            info.counters.misjudged += u64::from(wrong);
        }
        core::mem::take(&mut self.lifted)
    }

    /// A burst has ended; gives what the prediction was wrong by, in kernel entries to the nearest.
    #[inline(always)]
    fn end_burst(&mut self) -> u32 {
        let actual = self.burst();
        let wrong = (self.d.predicted.abs_diff(actual) + 8) / 16;
        self.burst_from = self.d.entries;
        self.d.predicted = predict(self.d.predicted, actual);
        self.d.bursts = self.d.bursts.wrapping_add(1);
        self.d.misjudged = self.d.misjudged.saturating_add(wrong);
        wrong
    }
}

impl<H: Hardware> Kernel<H> {
    /// The switch: chooses who runs next, waits for somebody if there is nobody, and cleans up before it runs.
    pub fn schedule(&mut self) {
        self.preempt = false;
        if self.current != 0 {
            let slot = self.current;
            self.current = 0;
            self.make_ready(slot);
        }
        let next = loop {
            match self.ready.pop(&mut self.links) {
                Some(next) if self.process(next).d.doomed != 0 => self.process(next).queued = 0,
                Some(next) => break next,
                None => self.idle(),
            }
        };
        self.preempt = false;
        self.info.counters.switches += 1;
        if self.info.pending_spaces != 0 {
            self.teardown(next);
        }
        self.run(next);
    }

    /// The hand-off: the CPU goes to `to`, and nothing else happens.
    pub(crate) fn hand_off(&mut self, to: usize) {
        self.info.counters.handoffs += 1;
        self.run(to);
    }

    #[inline(always)]
    fn run(&mut self, next: usize) {
        let process = self.change_state(next, State::Running);
        if process.d.magic != DESCRIPTOR_MAGIC {
            damaged(next);
        }
        // What was saved may have lain where its process could write. The ring is the descriptor's to say.
        let in_ring_0 = process.d.ring == 0 || process.phone.active != 0;
        let selectors = if in_ring_0 { (KERNEL_CS, KERNEL_SS) } else { (USER_CS, USER_SS) };
        (process.d.context.cs, process.d.context.ss) = (u64::from(selectors.0), u64::from(selectors.1));
        let (pid, root) = (process.d.pid, process.root());
        self.current = next;
        self.info.current = pid;
        self.hw.load_root(root);
        self.hw.resume_from(abi::Frame(u64::from(self.descriptors[next])));
    }

    /// The one place where a process's state changes. Gives the process.
    #[inline(always)]
    pub(crate) fn change_state(&mut self, slot: usize, state: State) -> &mut Process {
        if self.params.fix_priorities {
            self.set_state_and_priority(slot, state);
            return self.process(slot);
        }
        let Self { hw, descriptors, info, .. } = self;
        let process = Self::process_in(hw, abi::Frame(u64::from(descriptors[slot])));
        process.set_state(state, info);
        if !waits(state) {
            process.d.peer = Pid::NONE;
        }
        process
    }

    /// Where priorities are inherited they change with the state: of who was lifted for its age, and of whom it no longer
    /// waits for.
    #[inline(never)]
    fn set_state_and_priority(&mut self, slot: usize, state: State) {
        let Self { hw, descriptors, info, .. } = self;
        let process = Self::process_in(hw, abi::Frame(u64::from(descriptors[slot])));
        let lifted = process.set_state(state, info);
        let peer = process.d.peer;
        if lifted != 0 {
            self.refresh_priority(slot, Pid::NONE);
        }
        if peer != Pid::NONE && !waits(state) {
            self.set_peer(slot, Pid::NONE);
        }
    }

    /// Puts a process among those that wait for the CPU.
    pub(crate) fn make_ready(&mut self, slot: usize) {
        self.change_state(slot, State::Ready);
        self.enter_ready(slot);
    }

    #[inline(always)]
    fn enter_ready(&mut self, slot: usize) {
        let process = self.process(slot);
        let (place, priority) = (process.place(), process.d.effective);
        process.queued = place as u16 + 1;
        self.ready.push(&mut self.links, slot, place);
        if self.current != 0 && priority < self.process(self.current).d.effective {
            self.preempt = true;
        }
    }

    /// Takes a process out of those that wait for the CPU.
    pub(crate) fn leave_ready(&mut self, slot: usize) {
        if let Some(place) = core::mem::take(&mut self.process(slot).queued).checked_sub(1) {
            self.ready.remove(&mut self.links, slot, usize::from(place));
        }
    }

    /// The running process has had its share of a tick: others of its priority come first.
    pub(crate) fn end_share(&mut self) {
        if self.current != 0 {
            let priority = self.process(self.current).d.effective;
            self.preempt |= self.ready.any_at(priority);
        }
    }

    /// The running process waits for something; somebody else must be found.
    #[inline(always)]
    pub(crate) fn block(&mut self, slot: usize, state: State) {
        self.change_state(slot, state);
        self.current = 0;
    }

    /// A process comes to wait for another. Gives the process.
    #[inline(always)]
    pub(crate) fn wait_for(&mut self, slot: usize, state: State, peer: Pid) -> &mut Process {
        if self.params.fix_priorities {
            self.set_state_and_priority(slot, state);
            if self.process(slot).d.peer != peer {
                self.set_peer(slot, peer);
            }
            return self.process(slot);
        }
        let process = self.change_state(slot, state);
        process.d.peer = peer;
        process
    }

    /// Where priorities are inherited: the process lends its own to whom it waits for.
    #[inline(never)]
    fn set_peer(&mut self, slot: usize, peer: Pid) {
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

    /// Works out the effective priority anew, and that of whomever the process waits for, and so on. Comes to an end
    /// even where they wait for each other in a circle: it goes on only while priorities change, all in one direction.
    fn refresh_priority(&mut self, slot: usize, by: Pid) {
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

    /// Lifts those who have waited longest for the CPU, if that is too long: of each queue the first.
    pub(crate) fn lift_the_old(&mut self) {
        let (now, attendant) = (self.info.tick, self.timer.attendant);
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
            // If somebody lends it a higher one already, it is its class that changes.
            let process = self.process(slot);
            if usize::from(process.queued) != process.place() + 1 {
                self.leave_ready(slot);
                self.enter_ready(slot);
            }
        }
    }
}

/// Whether a process in this state may wait for another.
const fn waits(state: State) -> bool {
    !matches!(state, State::Ready | State::Running | State::Zombie)
}

#[cold]
#[inline(never)]
fn damaged(slot: usize) -> ! {
    panic!("the descriptor of slot {slot} is damaged")
}

/// The level that a priority lends.
fn lent_level(priority: u8) -> usize {
    usize::from(priority).min(PRIORITIES - 1)
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
            ready.push(&mut links, slot, Ready::place(priority, class));
        }
        assert!(ready.any_at(1) && !ready.any_at(0) && ready.any_at(255));
        let order: [_; 6] = core::array::from_fn(|_| ready.pop(&mut links));
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
            let mut model: Vec<VecDeque<usize>> = (0..PRIORITIES * CLASSES).map(|_| VecDeque::new()).collect();
            for (what, priority, class, slot) in steps {
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
