//! `architect hunt`: seeds that reach given beats, best first.

use std::cmp::Reverse;
use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::progress::Progress;
use super::values::{SubjectArgs, beat, jobs};
use crate::campaign::plan::{Plan, Vary};
use crate::campaign::row::Row;
use crate::campaign::shard::Shard;
use crate::campaign::subject::Subject;
use crate::campaign::workers;
use crate::error::{Error, Report};
use crate::files::output::print;
use crate::terms::Beat;

/// Search for seeds that reach given beats
#[derive(Clone, Debug, Args)]
pub struct HuntArgs {
    /// What to run.
    #[command(flatten)]
    pub subject: SubjectArgs,
    /// The beats to reach, separated by commas
    #[arg(long, value_name = "BEAT,...", value_delimiter = ',', required = true, value_parser = beat)]
    pub beats: Vec<Beat>,
    /// Number of seeds to try
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
    /// Runs at once [default: one for each processor]
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Print one JSON document on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Seeds that the text lists; the JSON document has all.
const LISTED: usize = 20;

/// Tries seeds and prints those that reach any of the beats; returns the exit status.
///
/// # Errors
///
/// A bad scenario, a run that failed, a signal, or no seed that reaches all beats.
pub fn hunt(args: &HuntArgs) -> Result<u8, Error> {
    let subject = Subject::new(args.subject.read()?, &args.subject.place())?;
    let plan = Plan::new(Vary::Seed, subject.scenario.seed, subject.cells.len(), args.runs, Shard::WHOLE)?;
    let progress = Progress::new();
    progress.begin(plan.runs().count(), 0);
    let mut rows = Vec::new();
    let ended = workers::run_all(
        plan.runs(),
        jobs(args.jobs),
        |run| subject.run(run),
        |row| {
            progress.step();
            rows.push(row);
            Ok(())
        },
    );
    progress.finish();
    // What was found before a signal is shown as well.
    if !matches!(ended, Ok(()) | Err(Error::Interrupted(_))) {
        return ended.map(|()| 0);
    }

    let ranking = Ranking::of(&rows, &args.beats);
    let text = match args.json {
        true => format!("{:#}\n", ranking.to_json(&subject.scenario.name)),
        false => ranking.text(),
    };
    print(&text)?;
    ended?;
    if ranking.complete() > 0 {
        return Ok(0);
    }
    Err(Error::Expectation(Report::new(
        format!("none of {} seeds reaches all of the beats", rows.len()),
        args.subject.place(),
        "try more seeds (--runs), or another load (--set)",
    )))
}

/// The runs that reach any of the wanted beats.
struct Ranking<'a> {
    wanted: Vec<Beat>,
    tried: usize,
    /// Runs that reach any of them: most beats first, then the earliest.
    best: Vec<&'a Row>,
}

impl<'a> Ranking<'a> {
    fn of(rows: &'a [Row], beats: &[Beat]) -> Self {
        let mut wanted = beats.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let mut best: Vec<_> = rows.iter().filter(|row| count(row, &wanted) > 0).collect();
        best.sort_by_key(|row| (Reverse(count(row, &wanted)), last(row, &wanted), row.run));
        Self { wanted, tried: rows.len(), best }
    }

    /// Seeds that reach everything.
    fn complete(&self) -> usize {
        self.best.iter().filter(|row| count(row, &self.wanted) == self.wanted.len()).count()
    }

    fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{} of {} seeds reach {}",
            self.complete(),
            self.tried,
            match self.wanted.as_slice() {
                [beat] => format!("the beat {}", beat.name()),
                all => format!("all {} beats, {} at least one", all.len(), self.best.len()),
            }
        );
        if !self.best.is_empty() {
            let _ = writeln!(out, "\n{:>10}  {:>6}  {:<10} ticks of the beats", "seed", "beats", "outcome");
        }
        for row in self.best.iter().take(LISTED) {
            let beats = reached(row, &self.wanted).map(|(beat, tick)| format!("{}:{tick}", beat.name()));
            let beats = beats.collect::<Vec<_>>().join(" ");
            let of = format!("{}/{}", count(row, &self.wanted), self.wanted.len());
            let _ = writeln!(out, "{:>10}  {of:>6}  {:<10} {beats}", row.seed, row.outcome);
        }
        if self.best.len() > LISTED {
            let _ = writeln!(out, "… and {} more; --json lists all", self.best.len() - LISTED);
        }
        out
    }

    fn to_json(&self, scenario: &str) -> Value {
        let names: Vec<_> = self.wanted.iter().map(|beat| beat.name()).collect();
        let seed = |row: &&Row| {
            let beats: serde_json::Map<_, _> = reached(row, &self.wanted)
                .map(|(beat, tick)| (beat.name().to_owned(), Value::from(tick)))
                .collect();
            json!({
                "seed": row.seed,
                "reached": count(row, &self.wanted),
                "beats": beats,
                "all_beats": row.beats.len(),
                "outcome": row.outcome,
                "ticks": row.ticks,
                "trace_hash": row.trace_hash,
            })
        };
        json!({
            "version": 1,
            "scenario": scenario,
            "wanted": names,
            "runs": self.tried,
            "complete": self.complete(),
            "seeds": self.best.iter().map(seed).collect::<Vec<_>>(),
        })
    }
}

/// The wanted beats that a run reaches, as they come.
fn reached<'r>(row: &'r Row, wanted: &'r [Beat]) -> impl Iterator<Item = (Beat, u64)> + 'r {
    let mut all: Vec<_> = row.beats.iter().filter(|(beat, _)| wanted.contains(beat)).collect();
    // The tick of a reset counts from the reset on.
    all.sort_by_key(|(beat, tick)| (**beat == Beat::Reset, **tick, **beat));
    all.into_iter().map(|(beat, tick)| (*beat, *tick))
}

fn count(row: &Row, wanted: &[Beat]) -> usize {
    reached(row, wanted).count()
}

/// When the last of them is reached, in the time before a reset.
fn last(row: &Row, wanted: &[Beat]) -> u64 {
    reached(row, wanted).filter(|(beat, _)| *beat != Beat::Reset).map(|(_, tick)| tick).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::plan::Run;
    use crate::campaign::testing;

    fn row(seed: u64, beats: &[(Beat, u64)]) -> Row {
        let row = testing::row(Run { number: seed, cell: 0, seed, draw: 0 });
        Row { beats: beats.iter().copied().collect(), ..row }
    }

    #[test]
    fn most_beats_come_first_then_the_earliest() {
        use Beat::{Leak, Load, Nmi};
        let rows = [
            row(1, &[(Leak, 5)]),
            row(2, &[(Leak, 300), (Nmi, 400)]),
            row(3, &[(Load, 1)]),
            row(4, &[(Leak, 100), (Nmi, 350), (Load, 900)]),
        ];
        let ranking = Ranking::of(&rows, &[Nmi, Leak, Nmi]);
        let seeds: Vec<_> = ranking.best.iter().map(|row| row.seed).collect();
        assert_eq!((seeds, ranking.complete()), (vec![4, 2, 1], 2));
        let text = ranking.text();
        assert!(text.contains("2 of 4 seeds reach all 2 beats, 3 at least one"), "{text}");
        assert!(text.contains("leak:100 nmi:350"), "{text}");
        assert_eq!(ranking.to_json("x")["seeds"][0]["beats"], json!({"leak": 100, "nmi": 350}));
    }
}
