//! `architect campaign`: many runs of one scenario, stored in a database.

use std::path::PathBuf;

use clap::Args;

use super::progress::Progress;
use super::values::{SubjectArgs, jobs, margin};
use crate::campaign::plan::{Plan, Vary};
use crate::campaign::precision::Precision;
use crate::campaign::runner::Runner;
use crate::campaign::shard::Shard;
use crate::campaign::store::Database;
use crate::campaign::subject::Subject;
use crate::error::Error;
use crate::files::output::print;

/// Run a scenario many times and store one row per run in a database
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CampaignArgs {
    /// What to run.
    #[command(flatten)]
    pub subject: SubjectArgs,
    /// Number of runs, over all combinations of a sweep together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
    /// Runs at once [default: one for each processor]
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Make only part I of N disjoint parts of the runs; I may count from 0 or from 1 (N/N is 0/N)
    #[arg(
        long,
        value_name = "I/N",
        default_value = "0/1",
        hide_default_value = true,
        conflicts_with = "precision"
    )]
    pub shard: Shard,
    /// What varies from run to run: `faults` (default where the scenario has any) or `seed`. With faults and `seed`, each
    /// run has a golden run of its own
    #[arg(long, value_name = "WHAT")]
    pub vary: Option<Vary>,
    /// The database file
    #[arg(long, value_name = "FILE")]
    pub db: PathBuf,
    /// Continue the campaign in the database, or begin it if there is none
    #[arg(long)]
    pub resume: bool,
    /// Skip runs whose faults only change data that is overwritten before it is read. Their rows are derived from the
    /// golden run, and are equal to what a run would give
    #[arg(long)]
    pub prune: bool,
    /// Stop when the rate of each outcome is known to within this margin at 95 %, as in 0.03
    #[arg(long, value_name = "MARGIN", value_parser = margin)]
    pub precision: Option<f64>,
}

const AFTER_HELP: &str = "\
Examples:
  architect campaign demo-leak --runs 100 --db demo.db
  architect campaign demo-leak --runs 100 --db demo.db --resume       go on after an interruption
  architect campaign demo-leak --runs 1000 --db part2.db --shard 2/4  one of four jobs";

/// Makes the runs of a campaign that its database does not have yet; returns the exit status.
///
/// # Errors
///
/// A bad scenario or database, a run that failed, or a signal.
pub fn campaign(args: &CampaignArgs) -> Result<u8, Error> {
    let mut subject = Subject::new(args.subject.read()?, &args.subject.place())?;
    let cells = subject.cells.len();
    let precision = args.precision.map(|margin| Precision { margin, cells: cells as u64 });
    let runs = precision.map_or(args.runs, |precision| precision.planned(args.runs));
    let vary = args.vary.unwrap_or_else(|| subject.vary());
    if args.prune {
        subject.prune(vary)?;
    }
    let plan = Plan::new(vary, subject.scenario.seed, cells, runs, args.shard)?;
    let mut database = Database::open(&args.db, &subject.identity(vary, args.shard), args.resume)?;
    database.plan(runs)?;

    let progress = Progress::new();
    let step = || progress.step();
    let mut runner = Runner::new(&subject, plan, jobs(args.jobs), database, &step)?;
    let total = runner.total();
    progress.begin(total, runner.stored());
    let ended = match precision {
        None => runner.run_all(runs),
        Some(precision) => runner.run_until_precise(precision, runs),
    };
    progress.finish();
    let stored = runner.stored();
    runner.close();

    let place = args.db.display();
    if let Err(error) = ended {
        eprintln!(
            "architect: {stored} of {total} runs are stored in {place}; add --resume to go on from there"
        );
        return Err(error);
    }
    let enough = if stored < total { ", precise enough" } else { "" };
    print(&format!("{stored} runs in {place}{enough}; `architect stats {place}` summarises them\n"))?;
    Ok(0)
}
