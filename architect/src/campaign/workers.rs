//! Many runs on several threads. Which thread makes which run, and in what order they end, makes no difference to any of
//! them; whoever takes the rows gets each as it comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use crate::campaign::plan::Run;
use crate::campaign::row::Row;
use crate::campaign::subject::RunEnd;
use crate::error::{Error, VmmError};

/// How a number of runs came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// All were made.
    Complete,
    /// This signal ended it; what had ended before was taken.
    Signal(i32),
}

/// Makes the runs by `make`, on `jobs` threads, and hands each row to `take` in the calling thread. After an error of
/// either no further run is begun; rows of runs that end meanwhile are still handed over, unless it was `take` that failed.
pub fn make_all(
    runs: impl Iterator<Item = Run> + Send,
    jobs: usize,
    make: impl Fn(Run) -> Result<RunEnd, Error> + Sync,
    mut take: impl FnMut(Row) -> Result<(), Error>,
) -> Result<Ended, Error> {
    let runs = Mutex::new(runs);
    let stop = AtomicBool::new(false);
    let work = |results: &dyn Fn(Result<RunEnd, Error>)| {
        while !stop.load(Ordering::Relaxed) {
            let Some(run) = runs.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
            let end = make(run).map_err(|error| error.in_run(run.number, run.seed));
            if !matches!(end, Ok(RunEnd::Row(_))) {
                stop.store(true, Ordering::Relaxed);
            }
            results(end);
        }
    };
    let mut end = Ok(Ended::Complete);
    std::thread::scope(|scope| {
        let (sender, results) = channel();
        for job in 0..jobs {
            let (sender, work) = (sender.clone(), &work);
            let thread = std::thread::Builder::new().name(format!("job-{job}"));
            let spawned = thread.spawn_scoped(scope, move || {
                work(&|end| {
                    // Nobody listens any more only if this scope is unwinding.
                    let _ = sender.send(end);
                });
            });
            if let Err(error) = spawned {
                stop.store(true, Ordering::Relaxed);
                end = Err(VmmError::resource("a thread")(error).into());
            }
        }
        drop(sender);
        let mut taking = true;
        for result in results {
            let failed = match result {
                Ok(RunEnd::Row(row)) if taking => take(*row).inspect_err(|_| taking = false).err(),
                Ok(RunEnd::Row(_)) => None,
                Ok(RunEnd::Signal(number)) => {
                    if end.is_ok() {
                        end = Ok(Ended::Signal(number));
                    }
                    None
                }
                Err(error) => Some(error),
            };
            if let Some(error) = failed {
                stop.store(true, Ordering::Relaxed);
                // The first error is what all others may come from.
                if end.is_ok() {
                    end = Err(error);
                }
            }
        }
    });
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::plan::{Plan, Vary};
    use crate::campaign::shard::Shard;
    use crate::error::Report;

    fn row(run: Run) -> RunEnd {
        RunEnd::Row(Box::new(crate::campaign::testing::row(run)))
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
            let end = make_all(
                runs(50),
                jobs,
                |run| Ok(row(run)),
                |row| {
                    seen.push(row.run);
                    Ok(())
                },
            );
            seen.sort_unstable();
            assert_eq!((end.unwrap(), seen), (Ended::Complete, (0..50).collect()));
        }
    }

    #[test]
    fn a_signal_ends_it_and_what_was_done_is_taken() {
        let mut seen = Vec::new();
        let make = |run: Run| Ok(if run.number == 3 { RunEnd::Signal(2) } else { row(run) });
        let end = make_all(runs(1000), 1, make, |row| {
            seen.push(row.run);
            Ok(())
        });
        assert_eq!((end.unwrap(), seen), (Ended::Signal(2), vec![0, 1, 2]));
    }

    #[test]
    fn an_error_names_its_run_and_one_of_storing_takes_no_more() {
        let make = |run: Run| if run.number == 3 { Err(error()) } else { Ok(row(run)) };
        let end = make_all(runs(1000), 1, make, |_| Ok(()));
        assert!(end.unwrap_err().to_string().contains("run 3"));

        let mut taken = 0;
        let end = make_all(
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
