//! Which runs a campaign consists of: a function of scenario, first seed and number, and of nothing else.
//!
//! The runs go round the cells of the sweep, and on to the next seed, or the next draw of faults, after each round: every
//! cell is tried with the same ones, and a longer campaign begins with the runs of a shorter one.

use std::fmt;

use crate::campaign::shard::Shard;
use crate::error::{Error, Report};
use crate::scenario::{Cell, Scenario};

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its number in the campaign, from 0.
    pub number: u64,
    /// Its combination of the sweep's levels, from 0.
    pub cell: usize,
    /// Its seed.
    pub seed: u64,
    /// Its number among all that could be drawn where the scenario leaves something open.
    pub draw: u64,
}

impl Run {
    /// Its scenario, with nothing left open; `None` if there is no such cell.
    pub fn resolve(self, cells: &[Cell]) -> Option<Scenario> {
        let scenario = cells.get(self.cell)?.scenario.clone();
        Some(Scenario { seed: self.seed, ..scenario }.resolve(self.draw))
    }
}

/// What the runs of a cell differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Vary {
    /// In the seed; what is left open is drawn for number 0, as in `architect run`.
    Seed,
    /// In what is drawn for the faults; the seed stays, and with it the golden run.
    Faults,
}

impl fmt::Display for Vary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seed => "seed",
            Self::Faults => "faults",
        })
    }
}

/// The runs of a campaign, or of one shard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    vary: Vary,
    first_seed: u64,
    cells: u64,
    runs: u64,
    shard: Shard,
}

impl Plan {
    /// So many runs over so many cells. A database keeps seeds as signed numbers, so the last one must be below 2^63.
    pub fn new(vary: Vary, first_seed: u64, cells: usize, runs: u64, shard: Shard) -> Result<Self, Error> {
        let cells = cells.max(1) as u64;
        let last = first_seed.checked_add(runs.div_ceil(cells));
        if last.is_none_or(|last| i64::try_from(last).is_err()) {
            return Err(Error::Input(Report::new(
                format!("{runs} runs from seed {first_seed} on need seeds beyond 2^63"),
                "--seed and --runs",
                "give a smaller first seed or fewer runs",
            )));
        }
        Ok(Self { vary, first_seed, cells, runs, shard })
    }

    /// The run of this number.
    pub fn run(&self, number: u64) -> Run {
        let round = number / self.cells;
        let (seed, draw) = match self.vary {
            Vary::Seed => (self.first_seed.saturating_add(round), 0),
            Vary::Faults => (self.first_seed, round),
        };
        Run { number, cell: (number % self.cells) as usize, seed, draw }
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
        let plan = Plan::new(Vary::Seed, 7, 2, 5, Shard::WHOLE).unwrap();
        let runs: Vec<_> = plan.runs().map(|run| (run.number, run.cell, run.seed)).collect();
        assert_eq!(runs, [(0, 0, 7), (1, 1, 7), (2, 0, 8), (3, 1, 8), (4, 0, 9)]);
        let plan = Plan::new(Vary::Faults, 7, 2, 5, Shard::WHOLE).unwrap();
        let runs: Vec<_> = plan.runs().map(|run| (run.cell, run.seed, run.draw)).collect();
        assert_eq!(runs, [(0, 7, 0), (1, 7, 0), (0, 7, 1), (1, 7, 1), (0, 7, 2)]);
    }

    #[test]
    fn seeds_that_a_database_cannot_keep_are_refused() {
        assert!(Plan::new(Vary::Seed, u64::MAX, 1, 1, Shard::WHOLE).is_err());
        assert!(Plan::new(Vary::Seed, i64::MAX as u64 - 1, 1, 1, Shard::WHOLE).is_ok());
    }

    proptest! {
        #[test]
        fn a_longer_campaign_begins_with_a_shorter_one(cells in 1..20_usize, runs in 1..200_u64, more in 0..50_u64) {
            let short = Plan::new(Vary::Seed, 3, cells, runs, Shard::WHOLE).unwrap();
            let long = Plan::new(Vary::Seed, 3, cells, runs + more, Shard::WHOLE).unwrap();
            prop_assert!(short.runs().eq(long.runs().take(runs as usize)));
        }
    }
}
