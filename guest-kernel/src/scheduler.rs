//! Scheduler: the highest priority first, in turn within a priority.
//!
//! The CPU changes hands in two ways. The *switch* is the scheduler's: it first takes down the windows that the next
//! process has still standing from ended loans. The *hand-off* is the message path's: the CPU goes straight to the
//! peer, past the scheduler and so past the teardown, because a message should not pay for it. That is the second
//! place of the design bug: a busy server is entered by hand-off almost always.

use abi::Pid;
use abi::process::{DESCRIPTOR_MAGIC, State};

use crate::hardware::Hardware;
use crate::kernel::Kernel;
use crate::queue::{Links, Queue};

/// Priorities: 0 is the most urgent.
pub const PRIORITIES: usize = 8;

/// Who waits for the CPU.
pub struct Ready {
    queues: [Queue; PRIORITIES],
}

impl Ready {
    /// Nobody.
    pub const fn new() -> Self {
        Self { queues: [Queue::EMPTY; PRIORITIES] }
    }

    /// Adds a process.
    pub fn push(&mut self, links: &mut Links, slot: usize, priority: u8) {
        links.push(&mut self.queues[Self::clamp(priority)], slot);
    }

    /// Takes the next.
    pub fn pop(&mut self, links: &mut Links) -> Option<usize> {
        self.queues.iter_mut().find_map(|queue| links.pop(queue))
    }

    /// Takes a process out.
    pub fn remove(&mut self, links: &mut Links, slot: usize, priority: u8) -> bool {
        links.remove(&mut self.queues[Self::clamp(priority)], slot)
    }

    /// Whether somebody waits who is at least as urgent as `priority`.
    pub fn any_at(&self, priority: u8) -> bool {
        self.queues[..=Self::clamp(priority)].iter().any(|queue| !queue.is_empty())
    }

    fn clamp(priority: u8) -> usize {
        usize::from(priority).min(PRIORITIES - 1)
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self::new()
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
                Some(next) => break next,
                None => self.idle(),
            }
        };
        self.preempt = false;
        self.info.counters.switches += 1;
        self.teardown(next);
        self.run(next);
    }

    /// The hand-off: the CPU goes to `to`, and nothing else happens.
    pub(crate) fn hand_off(&mut self, to: usize) {
        self.info.counters.handoffs += 1;
        self.run(to);
    }

    fn run(&mut self, next: usize) {
        let process = self.process(next);
        assert!(process.d.magic == DESCRIPTOR_MAGIC, "the descriptor of slot {next} is damaged");
        process.d.state = State::Running as u8;
        let (pid, root) = (process.d.pid, process.root());
        self.current = next;
        self.info.current = pid;
        self.hw.load_root(root);
        self.hw.resume_from(abi::Frame(u64::from(self.processes[next])));
    }

    /// Puts a process among those that wait for the CPU.
    pub(crate) fn make_ready(&mut self, slot: usize) {
        let process = self.process(slot);
        process.d.state = State::Ready as u8;
        let priority = process.d.priority;
        self.ready.push(&mut self.links, slot, priority);
        if self.current != 0 && priority < self.process(self.current).d.priority {
            self.preempt = true;
        }
    }

    /// The running process has had its share of a tick: others of its priority come first.
    pub(crate) fn end_share(&mut self) {
        if self.current != 0 {
            let priority = self.process(self.current).d.priority;
            self.preempt |= self.ready.any_at(priority);
        }
    }

    /// A process waits for something that `peer` could do.
    pub(crate) fn wait_for(&mut self, slot: usize, state: State, peer: Pid) {
        let process = self.process(slot);
        process.d.state = state as u8;
        process.d.peer = peer;
    }

    /// The running process waits for something; somebody else must be found.
    pub(crate) fn block(&mut self, slot: usize, state: State) {
        self.process(slot).d.state = state as u8;
        self.current = 0;
    }
}

#[cfg(test)]
impl Ready {
    /// The queues, the most urgent first.
    pub(crate) fn queues(&self) -> [Queue; PRIORITIES] {
        self.queues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_ones_come_first_and_equals_in_turn() {
        let (mut links, mut ready) = (Links::new(), Ready::new());
        for (slot, priority) in [(1, 3), (2, 1), (3, 3), (4, 200)] {
            ready.push(&mut links, slot, priority);
        }
        assert!(ready.any_at(1) && !ready.any_at(0));
        let order: [_; 5] = core::array::from_fn(|_| ready.pop(&mut links));
        assert_eq!(order, [Some(2), Some(1), Some(3), Some(4), None]);
    }
}
