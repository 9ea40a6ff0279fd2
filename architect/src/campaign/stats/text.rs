//! The stats for people.

use std::fmt::Write as _;

use super::summary::Stats;
use crate::campaign::stats::effects::{Effect, Seen};
use crate::campaign::stats::interval::{Interval, sample_size};
use crate::campaign::stats::tally::Response;

impl Stats<'_> {
    /// The text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let table = self.table;
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{}, seeds from {} on: {} of {} runs",
            table.scenario, table.first_seed, self.all.runs, table.planned
        );
        if self.all.unrepeatable > 0 {
            let _ = writeln!(out, "in {} of them real time decided something", self.all.unrepeatable);
        }
        if self.all.pruned > 0 {
            let _ = writeln!(
                out,
                "{} of them, {}, were told from their golden run and not made",
                self.all.pruned,
                percent(Seen { count: self.all.pruned, of: self.all.runs }.rate())
            );
        }
        let [detected, actual, both] = self.all.leaks;
        let _ =
            writeln!(out, "wrong sharings: {actual} by the ledger, {detected} found, {both} of them in both");
        if self.is_sweep() {
            for response in &self.responses {
                self.factorial(&mut out, response);
            }
        } else {
            for kind in ["outcome", "noticed by", "recovered by", "put back by", "beat"] {
                self.single(&mut out, kind);
            }
        }
        if let Some(margin) = self.precision {
            self.plan(&mut out, margin);
        }
        out
    }

    /// The only cell's outcomes, or beats.
    fn single(&self, out: &mut String, kind: &str) {
        let responses: Vec<_> = self.responses.iter().filter(|response| response.kind() == kind).collect();
        if responses.is_empty() {
            return;
        }
        let _ = writeln!(out, "\n{kind:<20} {:>7} {:>8}   95 % interval", "runs", "rate");
        for response in responses {
            let seen = self.all.seen(response);
            let interval = Interval::wilson(seen.count, seen.of);
            let _ = writeln!(
                out,
                "{:<20} {:>7} {:>8}   {}",
                response.name(),
                seen.count,
                percent(seen.rate()),
                range(interval)
            );
        }
    }

    /// A response in every cell, and what the factors do to it.
    fn factorial(&self, out: &mut String, response: &Response) {
        let _ = writeln!(out, "\n{} `{}`", response.kind(), response.name());
        let widths: Vec<usize> = self.table.factors.iter().map(|factor| factor.len().max(8)).collect();
        let levels = |levels: &[String]| -> String {
            levels.iter().zip(&widths).map(|(level, width)| format!("  {level:<width$}")).collect()
        };
        let _ = writeln!(
            out,
            "{} {:>7} {:>7} {:>8}   95 % interval",
            levels(&self.table.factors),
            "runs",
            "so",
            "rate"
        );
        for (of, tally) in &self.cells {
            let seen = tally.seen(response);
            let _ = writeln!(
                out,
                "{} {:>7} {:>7} {:>8}   {}",
                levels(of),
                seen.of,
                seen.count,
                percent(seen.rate()),
                range(Interval::wilson(seen.count, seen.of))
            );
        }
        let effects =
            self.effects.iter().find(|(of, _)| of == response).map_or(&[][..], |(_, effects)| effects);
        if effects.is_empty() {
            let _ = writeln!(out, "  effects: not before each cell has a run");
            return;
        }
        let (main, pairs): (Vec<_>, Vec<_>) = effects.iter().partition(|effect| effect.changes.len() == 1);
        let clear: Vec<_> = pairs.iter().filter(|effect| effect.is_clear()).collect();
        let names: Vec<_> = main.iter().map(|effect| name(effect)).collect();
        let width = names.iter().map(String::len).chain(clear.iter().map(|effect| name(effect).len())).max();
        let width = width.unwrap_or(0).max(12);
        let _ = writeln!(out, "  {:<width$} {:>8}   95 % interval", "change", "effect");
        for effect in main.into_iter().chain(clear.iter().map(|effect| **effect)) {
            let mark = if effect.is_clear() { "" } else { "   (may be none)" };
            let _ = writeln!(
                out,
                "  {:<width$} {:>8}   {}{mark}",
                name(effect),
                signed(effect.estimate),
                signed_range(effect.interval)
            );
        }
        let unclear = pairs.len() - clear.len();
        if unclear > 0 {
            let _ =
                writeln!(out, "  {unclear} of {} interactions may be none, and are left out", pairs.len());
        }
    }

    /// What a wanted precision takes.
    fn plan(&self, out: &mut String, margin: f64) {
        let any = sample_size(None, margin, 0.5);
        let reached = self.cells.iter().filter(|(_, tally)| self.is_precise(tally, margin)).count();
        let most = self.cells.iter().map(|(_, tally)| tally.runs).max().unwrap_or(0);
        let per_cell = if self.is_sweep() { " in each cell" } else { "" };
        let _ = writeln!(
            out,
            "\nfor intervals of +-{} {any} runs{per_cell} are enough whatever the rates; there are {most}, and {}",
            percent(margin),
            match (reached == self.cells.len(), self.is_sweep()) {
                (true, _) => "they are narrow enough".to_owned(),
                (false, false) => "they are not narrow enough yet".to_owned(),
                (false, true) => format!("{reached} of {} cells are narrow enough", self.cells.len()),
            }
        );
    }
}

fn name(effect: &Effect) -> String {
    let changes =
        effect.changes.iter().map(|change| format!("{} {} -> {}", change.factor, change.from, change.to));
    changes.collect::<Vec<_>>().join(", with ")
}

fn percent(rate: f64) -> String {
    format!("{:.1} %", rate * 100.0)
}

fn signed(rate: f64) -> String {
    // No "-0.0".
    format!("{:+.1} %", rate * 100.0 + 0.0)
}

fn range(interval: Interval) -> String {
    format!("{} to {}", percent(interval.low), percent(interval.high))
}

fn signed_range(interval: Interval) -> String {
    format!("{} to {}", signed(interval.low), signed(interval.high))
}
