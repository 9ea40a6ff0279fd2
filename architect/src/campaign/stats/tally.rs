//! What was counted over the runs of a cell.

use std::collections::BTreeMap;

use crate::campaign::row::Row;
use crate::campaign::stats::effects::Seen;
use crate::terms::Beat;

/// Counts over some runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many runs.
    pub runs: u64,
    /// In how many of them something was so: each outcome, each beat.
    seen: BTreeMap<Response, u64>,
    /// How many runs reach how many beats.
    pub beats_reached: BTreeMap<usize, u64>,
    /// Wrong sharings over all runs: found, there by the ledger, both.
    pub leaks: [u64; 3],
    /// Restarts and kills of the monitor over all runs.
    pub orders: [u64; 2],
    /// Runs in which real time decided something.
    pub unrepeatable: u64,
    /// Runs that need not be made.
    pub pruned: u64,
}

/// What a run is or is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Response {
    /// It ends so.
    Outcome(String),
    /// With faults: this one noticed first.
    NoticedBy(String),
    /// With faults: it was lost, and this one brought it back.
    RecoveredBy(String),
    /// With faults: it was reset for that, and went on from there.
    PutBackBy(String),
    /// It reaches this beat.
    Beat(Beat),
}

impl Response {
    /// What kind it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Outcome(_) => "outcome",
            Self::NoticedBy(_) => "noticed by",
            Self::RecoveredBy(_) => "recovered by",
            Self::PutBackBy(_) => "put back by",
            Self::Beat(_) => "beat",
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Outcome(name) | Self::NoticedBy(name) | Self::RecoveredBy(name) | Self::PutBackBy(name) => {
                name
            }
            Self::Beat(beat) => beat.name(),
        }
    }
}

impl Tally {
    /// Over these rows.
    pub fn of<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Self {
        let mut tally = Self::default();
        rows.into_iter().for_each(|row| tally.add(row));
        tally
    }

    /// Counts one more.
    pub fn add(&mut self, row: &Row) {
        self.runs += 1;
        let outcome = std::iter::once(Response::Outcome(row.outcome.clone()));
        let noticed = row.noticed_by.clone().map(Response::NoticedBy);
        let recovered = row.recovered_by.clone().map(Response::RecoveredBy);
        let put_back = row.put_back_by.clone().map(Response::PutBackBy);
        let beats = row.beats.keys().copied().map(Response::Beat);
        for response in outcome.chain(noticed).chain(recovered).chain(put_back).chain(beats) {
            *self.seen.entry(response).or_default() += 1;
        }
        *self.beats_reached.entry(row.beats.len()).or_default() += 1;
        for (sum, count) in self.leaks.iter_mut().zip([row.leaks_detected, row.leaks_actual, row.leaks_true])
        {
            *sum += count;
        }
        self.orders[0] += row.restarts;
        self.orders[1] += row.kills;
        self.unrepeatable += u64::from(!row.repeatable);
        self.pruned += u64::from(row.pruned);
    }

    /// How often something was so.
    pub fn seen(&self, response: &Response) -> Seen {
        Seen { count: self.seen.get(response).copied().unwrap_or(0), of: self.runs }
    }

    /// Whatever was so in any run: outcomes by name, then beats in the order of the story.
    pub fn responses(&self) -> impl Iterator<Item = &Response> {
        self.seen.keys()
    }
}
