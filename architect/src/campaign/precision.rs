//! When enough is known: a campaign for a wanted precision ends before its planned runs are made, if its intervals are
//! narrow enough by then.
//!
//! That is asked only after whole batches of runs, and looks at the runs up to there and no others: so the campaign ends
//! at the same run whatever the number of jobs, and however often it was interrupted.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::campaign::stats::interval::{Interval, sample_size};

/// Runs of each cell in a batch.
const BATCH: u64 = 50;

/// A wanted precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// Half the width that intervals may have.
    pub margin: f64,
    /// Combinations of the sweep.
    pub cells: u64,
}

impl Precision {
    /// How many runs are enough whatever the rates, to know these of `runs` runs.
    pub fn planned(self, runs: u64) -> u64 {
        let in_cell = sample_size(Some(runs.div_ceil(self.cells)), self.margin, 0.5);
        in_cell.saturating_mul(self.cells).min(runs)
    }

    /// The batches of a campaign, by numbers of runs.
    pub fn batches(self, runs: u64) -> impl Iterator<Item = Range<u64>> {
        let size = BATCH * self.cells;
        (0..runs.div_ceil(size)).map(move |batch| batch * size..((batch + 1) * size).min(runs))
    }

    /// Whether every outcome of every cell is known precisely enough by the runs below `end`; `outcomes` has the cell and
    /// the outcome of each run.
    pub fn is_reached(self, outcomes: &BTreeMap<u64, (usize, String)>, end: u64) -> bool {
        let mut counts: BTreeMap<usize, BTreeMap<&str, u64>> = BTreeMap::new();
        for (cell, outcome) in outcomes.range(..end).map(|(_, of)| of) {
            *counts.entry(*cell).or_default().entry(outcome).or_default() += 1;
        }
        counts.len() as u64 == self.cells
            && counts.values().all(|outcomes| {
                let of = outcomes.values().sum();
                outcomes.values().all(|count| Interval::wilson(*count, of).half() <= self.margin)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clear_rates_need_fewer_runs_than_planned() {
        let precision = Precision { margin: 0.05, cells: 2 };
        assert_eq!(precision.planned(u64::MAX), 2 * 385);
        assert_eq!(precision.planned(100), 90);
        let outcomes = |odd: &'static str| -> BTreeMap<_, _> {
            let outcome = move |run: u64| if run.is_multiple_of(4) { odd } else { "healthy" };
            (0..400).map(|run| (run, ((run % 2) as usize, outcome(run).to_owned()))).collect()
        };
        assert!(precision.is_reached(&outcomes("healthy"), 100));
        assert!(!precision.is_reached(&outcomes("healthy"), 40));
        assert!(!precision.is_reached(&outcomes("hung"), 400), "half of one cell's runs are others");
        assert!(!precision.is_reached(&BTreeMap::new(), 100));
    }

    proptest! {
        #[test]
        fn batches_are_all_runs_in_order(runs in 1..2000_u64, cells in 1..20_u64) {
            let precision = Precision { margin: 0.1, cells };
            prop_assert!(precision.batches(runs).flatten().eq(0..runs));
        }

        /// What comes after a batch cannot change whether the campaign ended with it.
        #[test]
        fn later_runs_change_nothing(outcomes in prop::collection::vec(0..3_usize, 60..120), end in 0..60_u64) {
            let precision = Precision { margin: 0.12, cells: 1 };
            let all: BTreeMap<u64, _> = (0..).zip(&outcomes).map(|(run, of)| (run, (0, of.to_string()))).collect();
            let first: BTreeMap<u64, _> = all.range(..end).map(|(run, of)| (*run, of.clone())).collect();
            prop_assert_eq!(precision.is_reached(&all, end), precision.is_reached(&first, end));
        }
    }
}
