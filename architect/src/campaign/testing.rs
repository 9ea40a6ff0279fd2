//! Rows and campaigns for tests.

use crate::campaign::identity::Identity;
use crate::campaign::plan::Run;
use crate::campaign::row::Row;

/// A row that depends on the run alone.
pub(crate) fn row(run: Run) -> Row {
    Row {
        run: run.number,
        cell: run.cell,
        seed: run.seed,
        draw: run.draw,
        outcome: "healthy".into(),
        ended: "healthy".into(),
        ticks: 100 + run.seed,
        events: 1000,
        trace_hash: Some(format!("{:064x}", run.seed)),
        trace_marks: Some("1:".into()),
        repeatable: true,
        incarnations: 1,
        ..Row::default()
    }
}

/// The identity of a campaign with this first seed.
pub(crate) fn identity(first_seed: &str) -> Identity {
    Identity::from_facts([first_seed, "0/1"].map(str::to_owned))
}
