//! What a campaign keeps of a run. No real time and no fact about the host: the same run gives the same row anywhere.

use std::collections::BTreeMap;

use crate::campaign::plan::Run;
use crate::faults::digest::Digest;
use crate::faults::outcome::Effect;
use crate::terms::Beat;
use crate::verdict::Verdict;

/// One run and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its number in the campaign.
    pub run: u64,
    /// Its combination of the sweep's levels.
    pub cell: usize,
    /// Its seed.
    pub seed: u64,
    /// Its number among all that could be drawn.
    pub draw: u64,
    /// How it ended; with faults, what these did: a name of [`crate::terms::Outcome`].
    pub outcome: String,
    /// How it ended, seen by itself.
    pub ended: String,
    /// Virtual ticks over all incarnations.
    pub ticks: u64,
    /// Records in the event stream.
    pub events: u64,
    /// Their hash; `None` by a clock of real time.
    pub trace_hash: Option<String>,
    /// What the hash was along the way: [`crate::trace::hash::Marks`] as text.
    pub trace_marks: Option<String>,
    /// Whether no decision was left to real time.
    pub repeatable: bool,
    /// The beats that were reached, and when: ticks.
    pub beats: BTreeMap<Beat, u64>,
    /// Wrong sharings that audits found.
    pub leaks_detected: u64,
    /// Those that stood at an audit, by the ledger.
    pub leaks_actual: u64,
    /// Those in both.
    pub leaks_true: u64,
    /// Restarts and kills that the monitor ordered.
    pub restarts: u64,
    /// See `restarts`.
    pub kills: u64,
    /// How many times the guest was started.
    pub incarnations: u32,
    /// Whether the last incarnation came up healthy; `None` without a reset.
    pub healthy_after_reset: Option<bool>,
    /// How often faults acted; `None` without faults.
    pub acted: Option<u64>,
    /// Who noticed anything of them first.
    pub noticed_by: Option<String>,
    /// Who brought the machine back.
    pub recovered_by: Option<String>,
    /// From where it went on, if it was reset for that.
    pub put_back_by: Option<String>,
    /// Whether something of the lives before shows after the last reset.
    pub residue: Option<bool>,
    /// Whether the run was not made, since nothing reads what its faults change: all this is the golden run's.
    pub pruned: bool,
}

impl Row {
    /// The row of a verdict.
    pub fn of(run: Run, verdict: &Verdict<'_>) -> Self {
        let row = Self {
            run: run.number,
            cell: run.cell,
            seed: run.seed,
            draw: run.draw,
            outcome: verdict.ended.name().to_owned(),
            ended: verdict.ended.name().to_owned(),
            ticks: verdict.tally.ticks,
            events: verdict.events,
            trace_hash: verdict.trace_hash.clone(),
            trace_marks: verdict.trace_hash.as_ref().map(|_| verdict.trace_marks.to_string()),
            repeatable: verdict.repeatable,
            beats: verdict.beats.reached().iter().map(|(beat, reached)| (*beat, reached.tick)).collect(),
            leaks_detected: verdict.detection.detected,
            leaks_actual: verdict.detection.actual,
            leaks_true: verdict.detection.true_positives,
            restarts: verdict.tally.restarts,
            kills: verdict.tally.kills,
            incarnations: verdict.incarnations,
            healthy_after_reset: verdict.healthy_after_reset,
            ..Self::default()
        };
        match (&verdict.effect, &verdict.digest) {
            (Some((effect, _)), Some(digest)) => row.with(effect, digest),
            _ => row,
        }
    }

    /// The same with what faults did.
    pub fn with(self, effect: &Effect, digest: &Digest) -> Self {
        Self {
            outcome: effect.class.name().to_owned(),
            acted: Some(digest.acted.into()),
            noticed_by: effect.noticed_by.first().map(|by| by.name().to_owned()),
            recovered_by: effect.recovered_by.map(|by| by.name().to_owned()),
            put_back_by: effect.put_back_by.map(|by| by.name().to_owned()),
            residue: effect.residue,
            ..self
        }
    }
}
