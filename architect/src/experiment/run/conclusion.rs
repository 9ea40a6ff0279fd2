//! From a finished run to its verdict.

use std::path::Path;

use abi::info::QUIRK_SYSCALL_FAULTS;

use crate::error::Error;
use crate::experiment::laboratory::{Compare, Laboratory};
use crate::experiment::run::driver::Run;
use crate::experiment::watch::Watchers;
use crate::faults::outcome::classify;
use crate::scenario::Clock;
use crate::terms::Outcome;
use crate::verdict::Verdict;

impl<'a> Laboratory<'a> {
    /// Runs one guest in the calling thread. Its files go to the folder `out`, which exists only if there is
    /// a verdict.
    ///
    /// # Errors
    ///
    /// The machine or the folder failed, or a signal interrupted the run.
    pub fn experiment(&self, out: Option<&Path>) -> Result<Verdict<'a>, Error> {
        let mut run = Run::new(self, out)?;
        let (ended, healthy_after_reset) = run.all_incarnations()?;
        conclude(self, run, ended, healthy_after_reset)
    }
}

fn conclude<'a>(
    lab: &Laboratory<'a>,
    run: Run<'_>,
    ended: Outcome,
    healthy_after_reset: Option<bool>,
) -> Result<Verdict<'a>, Error> {
    let Run { watchers, files, clock, number, cause, crashes, quirks, left, .. } = run;
    let Watchers { events, ledger, mut beats, tags, detector, hidden, mut tally, account, unread, .. } =
        watchers;
    tally.ticks = tally.ticks.max(1);
    beats.name_places(events.places());
    let (count, repeatable) = (events.count(), events.is_repeatable());
    let (trace_hash, trace_marks) = events.finish().map_err(|error| files.stream_failed(&error))?;
    let digest = account.map(|account| account.finish(ended, left));
    let verdict = Verdict {
        scenario: lab.scenario,
        fingerprints: lab.fingerprints,
        quirks: if quirks & QUIRK_SYSCALL_FAULTS != 0 { vec!["syscall-faults"] } else { vec![] },
        tally,
        events: count,
        // With a real-time clock every run is another one, and a hash would stand for nothing.
        trace_hash: (lab.scenario.vm.clock == Clock::Virtual).then_some(trace_hash),
        trace_marks,
        repeatable,
        beats,
        tags,
        hidden,
        kernel_crashes: crashes,
        cause,
        detection: detector.against(&ledger),
        ended,
        effect: match (lab.compare, &digest) {
            (Compare::With(golden), Some(digest)) => Some((classify(golden, digest), golden)),
            _ => None,
        },
        digest,
        unread,
        incarnations: number,
        healthy_after_reset,
        wall: clock.elapsed(),
    };
    files.finish(|| verdict.document())?;
    Ok(verdict)
}
