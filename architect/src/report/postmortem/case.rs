//! What a post-mortem is made from.

use super::chain::{self, Victim};
use super::history::{History, Reuse};
use crate::analysis::detection::Write;
use crate::beats::{Beats, Reached};
use crate::scenario::Scenario;
use crate::terms::{Beat, IncarnationEnd};

/// What a post-mortem is made from.
pub struct Case<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Which incarnation, from 1.
    pub incarnation: u32,
    /// Its last tick.
    pub tick: u64,
    /// How it ended.
    pub ended: IncarnationEnd,
    /// What its events and audits said.
    pub history: &'a History,
    /// The beats of the run.
    pub beats: &'a Beats,
    /// The writes that audits saw.
    pub writes: &'a [Write],
    /// Messages and system calls that the Agents looked at; processes that they tagged rightly, and wrongly.
    pub agents: [u64; 3],
}

impl Case<'_> {
    /// Whether there is a reason for a post-mortem.
    pub fn is_due(&self) -> bool {
        let counts = &self.history.counts;
        !self.ended.is_planned() || counts.findings > 0 || !self.history.reuses.is_empty()
    }

    pub(super) fn timeline(&self) -> Vec<(Beat, &Reached)> {
        chain::timeline(self.beats.reached().iter(), self.incarnation)
    }

    pub(super) fn victims(&self) -> Vec<Victim<'_>> {
        chain::victims(self.history, self.writes)
    }

    pub(super) fn first_cause(&self) -> Option<&Reuse> {
        self.history.reuses.first()
    }
}
