//! Makes the runs of a campaign and stores a row of each.

use std::collections::BTreeMap;
use std::ops::Range;

use super::plan::Plan;
use super::precision::Precision;
use super::store::Database;
use super::subject::Subject;
use super::workers;
use crate::error::Error;

/// A campaign in progress.
pub struct Runner<'a> {
    subject: &'a Subject,
    plan: Plan,
    jobs: usize,
    database: Database,
    /// Cell and outcome of each stored run.
    outcomes: BTreeMap<u64, (usize, String)>,
    /// Called after each stored run.
    stored: &'a dyn Fn(),
}

impl<'a> Runner<'a> {
    /// A campaign with these runs; those that the database has already are not made again.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn new(
        subject: &'a Subject,
        plan: Plan,
        jobs: usize,
        database: Database,
        stored: &'a dyn Fn(),
    ) -> Result<Self, Error> {
        let outcomes = database.rows()?.into_iter().map(|row| (row.run, (row.cell, row.outcome))).collect();
        Ok(Self { subject, plan, jobs, database, outcomes, stored })
    }

    /// Number of runs of the plan that are stored.
    pub fn stored(&self) -> usize {
        self.plan.runs().filter(|run| self.outcomes.contains_key(&run.number)).count()
    }

    /// Number of runs of the plan.
    pub fn total(&self) -> usize {
        self.plan.runs().count()
    }

    /// Makes all missing runs among the first `runs`.
    ///
    /// # Errors
    ///
    /// A run failed, a row could not be stored, or a signal interrupted the campaign.
    pub fn run_all(&mut self, runs: u64) -> Result<(), Error> {
        self.batch(0..runs)
    }

    /// Makes batch after batch until the rates are known precisely enough.
    ///
    /// # Errors
    ///
    /// As for [`Runner::run_all`].
    pub fn run_until_precise(&mut self, precision: Precision, runs: u64) -> Result<(), Error> {
        for batch in precision.batches(runs) {
            let end = batch.end;
            self.batch(batch)?;
            if precision.is_reached(&self.outcomes, end) {
                break;
            }
        }
        Ok(())
    }

    /// Ends the campaign: the database becomes one plain file.
    pub fn close(self) {
        self.database.close();
    }

    /// Makes the missing runs among these numbers.
    fn batch(&mut self, numbers: Range<u64>) -> Result<(), Error> {
        let Self { subject, plan, jobs, database, outcomes, stored } = self;
        let missing: Vec<_> = plan
            .runs()
            .filter(|run| numbers.contains(&run.number) && !outcomes.contains_key(&run.number))
            .collect();
        workers::run_all(
            missing.into_iter(),
            *jobs,
            |run| subject.run(run),
            |row| {
                database.add(&row)?;
                stored();
                outcomes.insert(row.run, (row.cell, row.outcome));
                Ok(())
            },
        )
    }
}
