//! Campaigns: the speed-up of one job per processor over one job; and the cost of a campaign per run beside the run
//! itself, compared with storing the same row in a database.

use std::time::Instant;

use super::measure::Row;
use crate::campaign::plan::{Plan, Vary};
use crate::campaign::row;
use crate::campaign::shard::Shard;
use crate::campaign::store::Database;
use crate::campaign::subject::Subject;
use crate::campaign::workers::run_all;
use crate::error::{Error, VmmError};
use crate::scenario::Scenario;
use vmm::host::kvm::Kvm;

const ROUNDS: usize = 9;
/// Runs of each job in a round.
const RUNS: u64 = 6;
/// Rows in a round.
const ROWS: u64 = 500;

/// Measures both.
pub(super) fn measure(_kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let scenario = Scenario::parse(include_str!("campaign.toml"), "campaign.toml", None, &[])?;
    let subject = Subject::new(scenario, "campaign.toml")?;
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        rates[0].push(rate(&subject, jobs)?);
        rates[1].push(jobs as f64 * rate(&subject, 1)?);
    }
    let rate = Row::of("campaign", "Hz", rates);

    let row = subject.run(Plan::new(Vary::Seed, 1, 1, 1, Shard::WHOLE)?.run(0))?;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        times[0].push(own_work(&subject, &row, 1)?);
        times[1].push(bare_rows(&subject, &row)?);
    }
    Ok(vec![rate, Row::of("campaign-own", "us", times)])
}

/// Runs a second.
fn rate(subject: &Subject, jobs: usize) -> Result<f64, Error> {
    let plan = Plan::new(Vary::Seed, 1, 1, RUNS * jobs as u64, Shard::WHOLE)?;
    let begin = Instant::now();
    let mut made = 0_u32;
    run_all(
        plan.runs(),
        jobs,
        |run| subject.run(run),
        |_| {
            made += 1;
            Ok(())
        },
    )?;
    Ok(f64::from(made) / begin.elapsed().as_secs_f64())
}

/// Microseconds a run of a campaign whose runs take no time.
fn own_work(subject: &Subject, row: &row::Row, jobs: usize) -> Result<f64, Error> {
    in_database(subject, |database| {
        let plan = Plan::new(Vary::Seed, 1, 1, ROWS, Shard::WHOLE)?;
        let make = |run: crate::campaign::plan::Run| {
            let row = row::Row { run: run.number, seed: run.seed, ..row.clone() };
            // What each real run needs, too: its own scenario and configuration.
            std::hint::black_box(subject.prepare(run)?);
            Ok(row)
        };
        run_all(plan.runs(), jobs, make, |row| database.add(&row))
    })
}

/// Microseconds a row.
fn bare_rows(subject: &Subject, row: &row::Row) -> Result<f64, Error> {
    in_database(subject, |database| {
        (0..ROWS).try_for_each(|run| database.add(&row::Row { run, ..row.clone() }))
    })
}

fn in_database(
    subject: &Subject,
    work: impl FnOnce(&mut Database) -> Result<(), Error>,
) -> Result<f64, Error> {
    let folder = tempfile::tempdir().map_err(VmmError::resource("a scratch folder"))?;
    let identity = subject.identity(Vary::Seed, Shard::WHOLE);
    let mut database = Database::open(&folder.path().join("bench.db"), &identity, false)?;
    let begin = Instant::now();
    work(&mut database)?;
    Ok(begin.elapsed().as_secs_f64() * 1e6 / ROWS as f64)
}
