//! `architect campaign`: one scenario, many runs, a database. And what goes with it: looking for seeds (`hunt`).
//!
//! One direction only: a [`plan`] says which runs there are; [`workers`] make them, each from the [`subject`] by itself, on
//! as many threads as wanted; each gives a [`row`], which [`database`] keeps in a transaction of its own. Whoever reads,
//! reads rows.

pub mod args;
mod columns;
pub mod database;
pub mod hunt;
pub mod identity;
pub mod plan;
mod progress;
pub mod row;
pub mod shard;
pub mod subject;
#[cfg(test)]
mod testing;
pub mod workers;

use args::CampaignArgs;
use database::Database;
use identity::Identity;
use plan::Plan;
use progress::Progress;
use subject::Subject;
use workers::Ended;

use crate::error::Error;
use crate::run;

/// Makes the runs of a campaign that its database does not have yet; gives the exit status.
pub fn campaign(args: &CampaignArgs) -> Result<u8, Error> {
    let jobs = args::jobs(args.jobs);
    let subject = Subject::read(&args.subject, jobs)?;
    let plan = Plan::new(subject.scenario.seed, 1, args.runs, args.shard)?;
    let identity = Identity::of(&subject, args.shard);
    let mut database = Database::open(&args.db, &identity, args.resume)?;
    let done = database.done()?;
    let total = plan.runs().count();
    let left = plan.runs().filter(|run| !done.contains(&run.number));
    let before = plan.runs().filter(|run| done.contains(&run.number)).count();

    let progress = Progress::new(total, before);
    let ended = workers::make_all(
        left,
        jobs,
        |run| subject.run(run),
        |row| {
            database.add(&row)?;
            progress.step();
            Ok(())
        },
    );
    let made = progress.finish();
    database.close();
    let stored = before + made;
    if !matches!(ended, Ok(Ended::Complete)) {
        eprintln!(
            "{stored} of {total} runs are in {}; the same command with --resume goes on from there",
            args.db.display()
        );
    }
    match ended? {
        Ended::Signal(number) => Ok(run::status_of_signal(number)),
        Ended::Complete => {
            run::print(&format!("{stored} runs in {}\n", args.db.display()))?;
            Ok(0)
        }
    }
}
