//! Rows and campaigns for tests.

use std::collections::BTreeMap;

use crate::campaign::identity::Identity;
use crate::campaign::plan::Run;
use crate::campaign::row::Row;

/// A row that depends on the run alone.
pub(super) fn row(run: Run) -> Row {
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
        beats: BTreeMap::new(),
        leaks_detected: 0,
        leaks_actual: 0,
        leaks_true: 0,
        restarts: 0,
        kills: 0,
        incarnations: 1,
        healthy_after_reset: None,
        acted: None,
        noticed_by: None,
        recovered_by: None,
        put_back_by: None,
        residue: None,
        pruned: false,
    }
}

/// The identity of a campaign with this first seed.
pub(super) fn identity(first_seed: &str) -> Identity {
    Identity::from_facts([first_seed, "0/1"].map(str::to_owned))
}
