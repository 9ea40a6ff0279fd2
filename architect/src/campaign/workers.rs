//! Makes many runs on several threads. Which thread makes a run, and in what order they end, changes none of them; the
//! caller gets each row as it comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use crate::campaign::plan::Run;
use crate::campaign::row::Row;
use crate::error::{Error, VmmError};

/// Makes the runs by `make`, on `jobs` threads, and hands each row to `take` in the calling thread.
///
/// # Errors
///
/// The first error of `make` or `take`. No further run is begun after it; rows of runs that end meanwhile are still
/// handed over, unless it was `take` that failed.
pub fn run_all(
    runs: impl Iterator<Item = Run> + Send,
    jobs: usize,
    make: impl Fn(Run) -> Result<Row, Error> + Sync,
    mut take: impl FnMut(Row) -> Result<(), Error>,
) -> Result<(), Error> {
    let runs = Mutex::new(runs);
    let stop = AtomicBool::new(false);
    let work = |results: &dyn Fn(Result<Row, Error>)| {
        while !stop.load(Ordering::Relaxed) {
            let Some(run) = runs.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
            let end = make(run).map_err(|error| error.in_run(run.number, run.seed));
            if end.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            results(end);
        }
    };
    let mut ended = Ok(());
    std::thread::scope(|scope| {
        let (sender, results) = channel();
        for job in 0..jobs {
            let (sender, work) = (sender.clone(), &work);
            let thread = std::thread::Builder::new().name(format!("job-{job}"));
            let spawned = thread.spawn_scoped(scope, move || {
                work(&|end| {
                    // The receiver is gone only while this scope unwinds.
                    let _ = sender.send(end);
                });
            });
            if let Err(error) = spawned {
                stop.store(true, Ordering::Relaxed);
                ended = Err(VmmError::resource("a thread")(error).into());
            }
        }
        drop(sender);
        let mut taking = true;
        for result in results {
            let taken = match result {
                Ok(row) if taking => take(row).inspect_err(|_| taking = false),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                stop.store(true, Ordering::Relaxed);
                // The others may follow from the first error.
                if ended.is_ok() {
                    ended = Err(error);
                }
            }
        }
    });
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::plan::{Plan, Vary};
    use crate::campaign::shard::Shard;
    use crate::error::{Report, Signal};

    fn row(run: Run) -> Row {
        crate::campaign::testing::row(run)
    }

    fn runs(count: u64) -> impl Iterator<Item = Run> + Send {
        Plan::new(Vary::Seed, 1, 1, count, Shard::WHOLE).unwrap().runs()
    }

    fn error() -> Error {
        Error::Input(Report::new("a", "b", "c"))
    }

    #[test]
    fn every_run_is_made_once_whatever_the_number_of_jobs() {
        for jobs in [1, 3, 16] {
            let mut seen = Vec::new();
            let end = run_all(
                runs(50),
                jobs,
                |run| Ok(row(run)),
                |row| {
                    seen.push(row.run);
                    Ok(())
                },
            );
            seen.sort_unstable();
            assert_eq!((end.is_ok(), seen), (true, (0..50).collect()));
        }
    }

    #[test]
    fn a_signal_ends_it_and_what_was_done_is_taken() {
        let mut seen = Vec::new();
        let make = |run: Run| {
            if run.number == 3 { Err(Error::Interrupted(Signal::Interrupt)) } else { Ok(row(run)) }
        };
        let end = run_all(runs(1000), 1, make, |row| {
            seen.push(row.run);
            Ok(())
        });
        assert!(matches!(end, Err(Error::Interrupted(Signal::Interrupt))));
        assert_eq!(seen, [0, 1, 2]);
    }

    #[test]
    fn an_error_names_its_run_and_one_of_storing_takes_no_more() {
        let make = |run: Run| if run.number == 3 { Err(error()) } else { Ok(row(run)) };
        let end = run_all(runs(1000), 1, make, |_| Ok(()));
        assert!(end.unwrap_err().to_string().contains("run 3"));

        let mut taken = 0;
        let end = run_all(
            runs(1000),
            2,
            |run| Ok(row(run)),
            |_| {
                taken += 1;
                if taken == 5 { Err(error()) } else { Ok(()) }
            },
        );
        assert!(end.is_err());
        assert_eq!(taken, 5);
    }
}
