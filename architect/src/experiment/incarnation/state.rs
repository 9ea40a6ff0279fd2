//! [`Incarnation`]: the machine of one incarnation, and what is known about it.

use vmm::machine::Machine;

use crate::analysis::observer::Observer;
use crate::experiment::incarnation::{Console, Trapping};
use crate::experiment::monitor::Monitor;

/// What belongs to one incarnation of the guest.
pub(in crate::experiment) struct Incarnation {
    pub(in crate::experiment) machine: Machine<Console>,
    /// The view of the guest's tables, from its first doorbell on.
    pub(in crate::experiment) observer: Option<Observer>,
    pub(in crate::experiment) monitor: Monitor,
    pub(in crate::experiment) trapping: Trapping,
    /// Virtual time at the last tick.
    pub(in crate::experiment) tick: u64,
    /// Virtual time at the tick before the last.
    pub(in crate::experiment) previous_tick: u64,
    /// Findings, panics, NMIs, kills, restarts: what a healthy guest does not have.
    blemishes: u64,
    was_blind: bool,
}

impl Incarnation {
    /// A guest that has not run yet.
    pub(in crate::experiment) fn new(
        machine: Machine<Console>,
        monitor: Monitor,
        trapping: Trapping,
    ) -> Self {
        Self {
            machine,
            observer: None,
            monitor,
            trapping,
            tick: 0,
            previous_tick: 0,
            blemishes: 0,
            was_blind: false,
        }
    }

    /// Time has moved on to `now`. Returns the ticks that have passed.
    pub(in crate::experiment) fn advance(&mut self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.tick);
        self.previous_tick = std::mem::replace(&mut self.tick, now);
        elapsed
    }

    /// Counts something that a healthy guest does not have.
    pub(in crate::experiment) fn add_blemish(&mut self) {
        self.add_blemishes(1);
    }

    /// Counts `count` things that a healthy guest does not have.
    pub(in crate::experiment) fn add_blemishes(&mut self, count: u64) {
        self.blemishes += count;
    }

    /// Whether nothing was found that a healthy guest does not have.
    pub(in crate::experiment) fn is_unblemished(&self) -> bool {
        self.blemishes == 0
    }

    /// The guest's tables cannot be read. Returns whether this is the first time.
    pub(in crate::experiment) fn set_blind(&mut self) -> bool {
        self.blemishes += 1;
        !std::mem::replace(&mut self.was_blind, true)
    }
}
