//! The verdict: one JSON document about a run, and the same for people.

use std::time::Duration;

use serde_json::{Value, json};

use crate::analysis::detection::Detection;
use crate::analysis::hidden::HiddenSpaces;
use crate::analysis::subsystems::Subsystems;
use crate::analysis::tags::Tags;
use crate::beats::Beats;
use crate::faults::digest::Digest;
use crate::faults::outcome::Effect;
use crate::faults::unread::Unread;
use crate::guest::image::Fingerprints;
use crate::scenario::Scenario;
use crate::terms::Outcome;
use crate::trace::hash::Marks;
use vmm::probe;

/// What was counted over all incarnations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Virtual ticks.
    pub ticks: u64,
    /// Audits.
    pub audits: u64,
    /// Audits that could not read the guest's tables.
    pub blind_audits: u64,
    /// Real time for which the guest stood still so that the monitor could look at it.
    pub stolen: Duration,
    /// Restarts that the monitor ordered.
    pub restarts: u64,
    /// Kills that the monitor ordered.
    pub kills: u64,
    /// Processes that ended by a fault, or with a status other than 0; tagged violators not counted.
    pub crashes: u64,
    /// Datagrams that were damaged on their way.
    pub damaged: u64,
    /// Pages that a process could write and execute.
    pub executable: u64,
    /// Times the watchdog was petted.
    pub pets: u64,
    /// NMIs sent.
    pub nmis: u64,
    /// Resets that the watchdog made by itself.
    pub watchdog_resets: u64,
    /// Exits of the guest to the VMM.
    pub exits: u64,
    /// The kernel's own counters.
    pub subsystems: Subsystems,
}

impl Tally {
    /// The outcome of a run that has lasted its time, with so many wrong sharings and hidden spaces, and so many false tags.
    pub fn lasted(&self, found: usize, false_tags: u64) -> Outcome {
        if found > 0 || self.crashes > 0 || self.damaged > 0 || self.executable > 0 {
            Outcome::Corrupted
        } else if self.restarts > 0 || self.kills > 0 || false_tags > 0 {
            Outcome::Disturbed
        } else {
            Outcome::Healthy
        }
    }
}

/// Everything that a verdict says.
pub struct Verdict<'a> {
    /// The scenario as resolved.
    pub scenario: &'a Scenario,
    /// What the guest was made of.
    pub fingerprints: &'a Fingerprints,
    /// Peculiarities of the host that showed.
    pub quirks: Vec<&'static str>,
    /// What was counted.
    pub tally: Tally,
    /// Records in the stream.
    pub events: u64,
    /// Their hash; `None` where real time makes every run another one.
    pub trace_hash: Option<String>,
    /// What the hash was along the way.
    pub trace_marks: Marks,
    /// Whether the hash stands for the whole stream: no decision was left to real time.
    pub repeatable: bool,
    /// The beats.
    pub beats: Beats,
    /// Whom the guest took for violators.
    pub tags: Tags,
    /// Address spaces that the process table does not name.
    pub hidden: HiddenSpaces,
    /// Where the kernel was when it could not go on, each time.
    pub kernel_crashes: Vec<Value>,
    /// The first cause, in a line or two, of the first incarnation that ended badly or had frames shared wrongly.
    pub cause: Option<String>,
    /// Detection against the ledger.
    pub detection: Detection,
    /// How it ended, seen by itself.
    pub ended: Outcome,
    /// The run in a few numbers, where they were wanted.
    pub digest: Option<Digest>,
    /// What was not read in it, where that was wanted.
    pub unread: Option<Unread>,
    /// What its faults did, and the golden run that says so.
    pub effect: Option<(Effect, &'a Digest)>,
    /// How many times the guest was started.
    pub incarnations: u32,
    /// Whether the last incarnation came up healthy; `None` without a reset.
    pub healthy_after_reset: Option<bool>,
    /// Real time.
    pub wall: Duration,
}

impl Verdict<'_> {
    /// How it ended; with faults, what these did.
    pub fn outcome(&self) -> Outcome {
        self.effect.as_ref().map_or(self.ended, |(effect, _)| effect.class)
    }

    fn effect_json(&self) -> Value {
        match (&self.effect, &self.digest) {
            (Some((effect, golden)), Some(digest)) => effect.to_json(golden, digest),
            _ => Value::Null,
        }
    }

    /// The document.
    pub fn to_json(&self) -> Value {
        let tally = &self.tally;
        json!({
            "version": 1,
            "scenario": self.scenario.name,
            "seed": self.scenario.seed,
            "clock": self.scenario.vm.clock,
            "host": {"backend": probe::backend(), "quirks": self.quirks},
            "guest": {
                "image_sha256": self.fingerprints.image_sha256,
                "module_sha256": self.fingerprints.module_sha256,
                "memory_mib": self.scenario.vm.memory_mib,
            },
            "ticks": tally.ticks,
            "events": self.events,
            "trace_hash": self.trace_hash,
            "repeatable": self.repeatable,
            "beats": self.beats.to_json(),
            "policy": self.scenario.audit.policy.name(),
            "leaks": self.detection.to_json(),
            "hidden_spaces": self.hidden.to_json(),
            "monitor": {
                "audits": tally.audits,
                "blind_audits": tally.blind_audits,
                "restarts": tally.restarts,
                "kills": tally.kills,
            },
            "agents": self.tags.to_json(),
            "kernel_crashes": self.kernel_crashes,
            "crashes": tally.crashes,
            "damaged": tally.damaged,
            "writable_executable": tally.executable,
            "watchdog": {"pets": tally.pets, "nmis": tally.nmis, "resets": tally.watchdog_resets},
            "subsystems": tally.subsystems.to_json(),
            "exits": tally.exits,
            "outcome": self.outcome().name(),
            "faults": self.effect_json(),
            "incarnations": self.incarnations,
            "healthy_after_reset": self.healthy_after_reset,
            "wall_ms": milliseconds(self.wall),
            "stolen_ms": milliseconds(tally.stolen),
        })
    }

    /// The document as text.
    pub fn document(&self) -> String {
        format!("{:#}\n", self.to_json())
    }

    /// What was expected and did not happen.
    pub fn unmet_expectations(&self) -> Vec<String> {
        let expect = &self.scenario.expect;
        let reached = self.beats.reached();
        let missing = expect.beats.iter().filter(|beat| !reached.contains_key(beat));
        let unwanted = expect.never.iter().filter(|beat| reached.contains_key(beat));
        let outcome = expect.outcome.filter(|outcome| *outcome != self.outcome());
        missing
            .map(|beat| format!("the beat `{}` was not reached", beat.name()))
            .chain(unwanted.map(|beat| format!("the beat `{}` was reached", beat.name())))
            .chain(
                outcome.map(|want| format!("the outcome is {}, not {}", self.outcome().name(), want.name())),
            )
            .collect()
    }
}

/// Real time in a document.
pub fn milliseconds(wall: Duration) -> f64 {
    (wall.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_healthy_only_if_nothing_at_all_went_wrong() {
        let clean = Tally { ticks: 9, audits: 9, pets: 3, exits: 7, ..Tally::default() };
        assert_eq!(clean.lasted(0, 0), Outcome::Healthy);
        assert_eq!(clean.lasted(0, 1), Outcome::Disturbed);
        assert_eq!(Tally { kills: 1, ..clean }.lasted(0, 0), Outcome::Disturbed);
        assert_eq!(Tally { restarts: 1, ..clean }.lasted(0, 0), Outcome::Disturbed);
        assert_eq!(clean.lasted(1, 1), Outcome::Corrupted);
        assert_eq!(Tally { crashes: 1, kills: 1, ..clean }.lasted(0, 0), Outcome::Corrupted);
        assert_eq!(Tally { damaged: 1, ..clean }.lasted(0, 0), Outcome::Corrupted);
        assert_eq!(Tally { executable: 1, ..clean }.lasted(0, 0), Outcome::Corrupted);
    }
}
