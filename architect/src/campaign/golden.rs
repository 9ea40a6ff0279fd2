//! The golden run of a cell as a campaign keeps it: what runs with faults are compared with, and the row of those that need
//! not be made.

use crate::campaign::plan::Run;
use crate::campaign::row::Row;
use crate::faults::digest::Digest;
use crate::faults::outcome::classify;
use crate::faults::unread::{Foretold, Unread};
use crate::scenario::Scenario;
use crate::verdict::Verdict;

/// A golden run.
#[derive(Debug)]
pub struct Golden {
    /// What others are compared with.
    pub digest: Digest,
    /// Its own row, and what nothing reads in it, if runs may be left out.
    watched: Option<(Row, Unread)>,
}

impl Golden {
    /// That of this run; `None` if the verdict has no digest.
    pub fn of(run: Run, verdict: Verdict<'_>) -> Option<Self> {
        let row = Row::of(run, &verdict);
        // Where real time has decided something, another run may have been another one.
        let watched = verdict.unread.filter(|_| row.repeatable).map(|unread| (row, unread));
        Some(Self { digest: verdict.digest?, watched })
    }

    /// The row of a run with the faults of this resolved scenario, if it need not be made: what the faults change nothing
    /// reads, so everything is as in the golden run, but for the records of the faults themselves.
    pub fn foretell(&self, run: Run, scenario: &Scenario) -> Option<Row> {
        let (row, unread) = self.watched.as_ref()?;
        let Foretold { events, trace_hash, trace_marks, acted, missed } =
            unread.foretell(scenario.faults())?;
        let digest = Digest { acted, missed, ..self.digest.clone() };
        let row = row.clone().with(&classify(&self.digest, &digest), &digest);
        Some(Row {
            run: run.number,
            draw: run.draw,
            events,
            trace_hash: Some(trace_hash),
            trace_marks: Some(trace_marks.to_string()),
            pruned: true,
            ..row
        })
    }
}
