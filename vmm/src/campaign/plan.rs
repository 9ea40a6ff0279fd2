//! Which runs a campaign consists of: a function of scenario, first seed and number, and of nothing else.
//!
//! The runs go round the cells of the sweep, and on to the next seed after each round: every cell is tried with the same
//! seeds, and a longer campaign begins with the runs of a shorter one.

use crate::campaign::shard::Shard;
use crate::error::{Error, Report};

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its number in the campaign, from 0.
    pub number: u64,
    /// Its combination of the sweep's levels, from 0.
    pub cell: usize,
    /// Its seed.
    pub seed: u64,
}

/// The runs of a campaign, or of one shard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    first_seed: u64,
    cells: u64,
    runs: u64,
    shard: Shard,
}

impl Plan {
    /// So many runs over so many cells. A database keeps seeds as signed numbers, so the last one must be below 2^63.
    pub fn new(first_seed: u64, cells: usize, runs: u64, shard: Shard) -> Result<Self, Error> {
        let cells = cells.max(1) as u64;
        let last = first_seed.checked_add(runs.div_ceil(cells));
        if last.is_none_or(|last| i64::try_from(last).is_err()) {
            return Err(Error::Input(Report::new(
                format!("{runs} runs from seed {first_seed} on need seeds beyond 2^63"),
                "--seed and --runs",
                "give a smaller first seed or fewer runs",
            )));
        }
        Ok(Self { first_seed, cells, runs, shard })
    }

    /// The run of this number.
    pub fn run(&self, number: u64) -> Run {
        Run {
            number,
            cell: (number % self.cells) as usize,
            seed: self.first_seed.saturating_add(number / self.cells),
        }
    }

    /// All runs of the shard, in order.
    pub fn runs(&self) -> impl Iterator<Item = Run> + use<> {
        let plan = *self;
        (0..plan.runs).filter(move |run| plan.shard.has(*run)).map(move |number| plan.run(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_cell_is_tried_with_the_same_seeds() {
        let plan = Plan::new(7, 2, 5, Shard::WHOLE).unwrap();
        let runs: Vec<_> = plan.runs().map(|run| (run.number, run.cell, run.seed)).collect();
        assert_eq!(runs, [(0, 0, 7), (1, 1, 7), (2, 0, 8), (3, 1, 8), (4, 0, 9)]);
    }

    #[test]
    fn seeds_that_a_database_cannot_keep_are_refused() {
        assert!(Plan::new(u64::MAX, 1, 1, Shard::WHOLE).is_err());
        assert!(Plan::new(i64::MAX as u64 - 1, 1, 1, Shard::WHOLE).is_ok());
    }

    proptest! {
        #[test]
        fn a_longer_campaign_begins_with_a_shorter_one(cells in 1..20_usize, runs in 1..200_u64, more in 0..50_u64) {
            let short = Plan::new(3, cells, runs, Shard::WHOLE).unwrap();
            let long = Plan::new(3, cells, runs + more, Shard::WHOLE).unwrap();
            prop_assert!(short.runs().eq(long.runs().take(runs as usize)));
        }
    }
}
