//! `architect campaign`: one scenario, many runs, a database. And what goes with it: looking for seeds (`hunt`).
//!
//! One direction only: a [`plan`] says which runs there are; [`workers`] make them, each from the [`subject`] by itself, on
//! as many threads as wanted; each gives a [`row`], which [`database`] keeps in a transaction of its own. Whoever reads,
//! reads rows.

mod again;
pub mod args;
mod columns;
pub mod database;
pub mod ddmin;
pub mod effects;
pub mod golden;
pub mod hunt;
pub mod identity;
pub mod interval;
pub mod merge;
pub mod minimise;
pub mod plan;
mod progress;
pub mod replay;
pub mod row;
pub mod shard;
pub mod stats;
pub mod stop;
pub mod subject;
pub mod tally;
#[cfg(test)]
mod testing;
pub mod workers;

use std::collections::BTreeMap;
use std::ops::Range;

use args::CampaignArgs;
use database::Database;
use identity::Identity;
use plan::Plan;
use progress::Progress;
use stop::Precision;
use subject::Subject;
use workers::Ended;

use crate::cli::run;
use crate::error::Error;

/// Makes the runs of a campaign that its database does not have yet; gives the exit status.
pub fn campaign(args: &CampaignArgs) -> Result<u8, Error> {
    let jobs = args::jobs(args.jobs);
    let mut subject = Subject::read(&args.subject)?;
    let cells = subject.cells.len();
    let precision = args.precision.map(|margin| Precision { margin, cells: cells as u64 });
    let runs = precision.map_or(args.runs, |precision| precision.planned(args.runs));
    let vary = args.vary.unwrap_or_else(|| subject.vary());
    if args.prune {
        subject.prune(vary)?;
    }
    let plan = Plan::new(vary, subject.scenario.seed, cells, runs, args.shard)?;
    let mut database = Database::open(&args.db, &Identity::of(&subject, vary, args.shard), args.resume)?;
    database.plan(runs)?;
    let outcomes: BTreeMap<_, _> =
        database.rows()?.into_iter().map(|row| (row.run, (row.cell, row.outcome))).collect();

    let total = plan.runs().count();
    let before = plan.runs().filter(|run| outcomes.contains_key(&run.number)).count();
    let progress = Progress::new(total, before);
    let mut making = Making { subject: &subject, plan, jobs, database, outcomes, progress };
    let ended = match precision {
        None => making.batch(0..runs),
        Some(precision) => making.until_precise(precision, runs),
    };
    let Making { database, progress, .. } = making;
    let stored = before + progress.finish();
    database.close();

    let place = args.db.display();
    if !matches!(ended, Ok(Ended::Complete)) {
        eprintln!(
            "{stored} of {total} runs are in {place}; the same command with --resume goes on from there"
        );
    }
    match ended? {
        Ended::Signal(number) => Ok(run::status_of_signal(number)),
        Ended::Complete => {
            let enough = if stored < total { ", which are precise enough" } else { "" };
            run::print(&format!(
                "{stored} runs in {place}{enough}; `architect stats {place}` tells what became of them\n"
            ))?;
            Ok(0)
        }
    }
}

/// A campaign being made.
struct Making<'a> {
    subject: &'a Subject,
    plan: Plan,
    jobs: usize,
    database: Database,
    /// Cell and outcome of each run that is there.
    outcomes: BTreeMap<u64, (usize, String)>,
    progress: Progress,
}

impl Making<'_> {
    /// Makes what is missing of these runs.
    fn batch(&mut self, numbers: Range<u64>) -> Result<Ended, Error> {
        let Self { subject, plan, jobs, database, outcomes, progress } = self;
        let left: Vec<_> = plan
            .runs()
            .filter(|run| numbers.contains(&run.number) && !outcomes.contains_key(&run.number))
            .collect();
        workers::make_all(
            left.into_iter(),
            *jobs,
            |run| subject.run(run),
            |row| {
                database.add(&row)?;
                progress.step();
                outcomes.insert(row.run, (row.cell, row.outcome));
                Ok(())
            },
        )
    }

    /// Makes batch after batch, until enough is known.
    fn until_precise(&mut self, precision: Precision, runs: u64) -> Result<Ended, Error> {
        for batch in precision.batches(runs) {
            let end = batch.end;
            let ended = self.batch(batch)?;
            if ended != Ended::Complete || precision.is_reached(&self.outcomes, end) {
                return Ok(ended);
            }
        }
        Ok(Ended::Complete)
    }
}
