//! The rows of a campaign.

use std::fs;
use std::path::{Path, PathBuf};

use super::csv::records;
use super::rate::Rate;

/// A campaign by name, with its rows in the order of their runs.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
    beats: Vec<String>,
}

/// What is shown of a run.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Number of the run in its campaign.
    pub(crate) run: usize,
    /// Number of the combination of factors.
    pub(crate) cell: usize,
    pub(crate) seed: String,
    pub(crate) outcome: String,
    pub(crate) trace_hash: String,
    pub(crate) leaks: Leaks,
    pub(crate) restarts: usize,
    pub(crate) kills: usize,
    /// Whether each beat was reached, in the order of [`Campaign::beats`].
    reached: Vec<bool>,
}

/// Wrong sharings, leaks and crossings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leaks {
    /// Those that audits found.
    pub(crate) detected: usize,
    /// Those that the ledger has.
    pub(crate) actual: usize,
    /// Those in both.
    pub(crate) both: usize,
}

impl Row {
    pub(crate) fn beats_reached(&self) -> usize {
        self.reached.iter().filter(|reached| **reached).count()
    }
}

impl Campaign {
    /// Reads `STEM.csv`.
    ///
    /// # Errors
    ///
    /// The file, where it cannot be read or lacks a column.
    pub(crate) fn read(name: &str, stem: &Path) -> Result<Self, String> {
        let path = PathBuf::from(format!("{}.csv", stem.display()));
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(name, &text).map_err(|problem| format!("{}: {problem}", path.display()))
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut records = records(text).into_iter();
        let header = Header(records.next().unwrap_or_default());
        let beats: Vec<_> =
            header.0.iter().filter_map(|key| Some(key.strip_prefix("beat_")?.replace('_', "-"))).collect();
        let rows = records.map(|record| header.row(&record)).collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), rows, beats })
    }

    /// The campaign as if it had had no more runs than these.
    pub(crate) fn first(&self, runs: usize) -> Self {
        self.with(&self.name, |row| row.run < runs)
    }

    /// The rows of one combination of factors.
    pub(crate) fn cell(&self, cell: usize) -> Self {
        self.with("", |row| row.cell == cell)
    }

    fn with(&self, name: &str, wanted: impl Fn(&Row) -> bool) -> Self {
        let rows = self.rows.iter().filter(|row| wanted(row)).cloned().collect();
        Self { name: name.to_owned(), rows, beats: self.beats.clone() }
    }

    /// All beats, in their order.
    pub(crate) fn beats(&self) -> &[String] {
        &self.beats
    }

    /// In how many runs a beat was reached.
    ///
    /// # Errors
    ///
    /// There is no beat of this name.
    pub(crate) fn reached(&self, beat: &str) -> Result<Rate, String> {
        let nth = self.beats.iter().position(|name| name == beat);
        let nth = nth.ok_or_else(|| format!("{}: no beat {beat}", self.name))?;
        Ok(self.reached_nth(nth))
    }

    /// Each beat with the rate at which it was reached.
    pub(crate) fn rates(&self) -> impl Iterator<Item = (&str, Rate)> {
        self.beats.iter().enumerate().map(|(nth, beat)| (beat.as_str(), self.reached_nth(nth)))
    }

    fn reached_nth(&self, nth: usize) -> Rate {
        Rate::new(self.rows.iter().filter(|row| row.reached[nth]).count(), self.rows.len())
    }

    /// The sum of a number over all rows.
    pub(crate) fn sum(&self, number: impl Fn(&Row) -> usize) -> usize {
        self.rows.iter().map(number).sum()
    }

    /// Numbers of beats, each with the number of runs that reached as many; in the order in which they occur.
    pub(crate) fn beats_reached(&self) -> Vec<(usize, usize)> {
        let mut counts: Vec<(usize, usize)> = Vec::new();
        for number in self.rows.iter().map(Row::beats_reached) {
            match counts.iter_mut().find(|(of, _)| *of == number) {
                Some((_, runs)) => *runs += 1,
                None => counts.push((number, 1)),
            }
        }
        counts
    }
}

/// The names of the columns.
struct Header(Vec<String>);

impl Header {
    fn row(&self, record: &[String]) -> Result<Row, String> {
        let text = |key: &str| {
            let at = self.0.iter().position(|name| name == key);
            at.and_then(|at| record.get(at)).cloned().ok_or_else(|| format!("no column {key}"))
        };
        let number = |key: &str| text(key)?.parse::<usize>().map_err(|error| format!("{key}: {error}"));
        let beats = self.0.iter().zip(record).filter(|(key, _)| key.starts_with("beat_"));
        Ok(Row {
            run: number("run")?,
            cell: number("cell")?,
            seed: text("seed")?,
            outcome: text("outcome")?,
            trace_hash: text("trace_hash")?,
            leaks: Leaks {
                detected: number("leaks_detected")?,
                actual: number("leaks_actual")?,
                both: number("leaks_true")?,
            },
            restarts: number("restarts")?,
            kills: number("kills")?,
            reached: beats.map(|(_, tick)| !tick.is_empty()).collect(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::Campaign;

    /// A campaign of three runs; the second finds a leak that the ledger has not.
    pub(crate) fn three_runs() -> Campaign {
        let text = "run,cell,seed,outcome,trace_hash,leaks_detected,leaks_actual,leaks_true,restarts,kills,\
                    beat_load,beat_the_one\n\
                    0,0,1,healthy,aa,2,2,2,0,1,,\n1,1,2,crashed,bb,1,0,0,3,1,5,9\n2,0,3,healthy,cc,0,0,0,0,0,7,\n";
        Campaign::parse("three", text).expect("all columns")
    }

    #[test]
    fn rows_are_counted_by_beat_cell_and_run() {
        let campaign = three_runs();
        assert_eq!(campaign.beats(), ["load", "the-one"]);
        assert_eq!(campaign.reached("load").map(|rate| (rate.count, rate.of)), Ok((2, 3)));
        assert!(campaign.reached("nmi").is_err());
        assert_eq!(campaign.beats_reached(), [(0, 1), (2, 1), (1, 1)]);
        assert_eq!((campaign.cell(0).rows.len(), campaign.first(2).rows.len()), (2, 2));
        assert_eq!(campaign.sum(|row| row.restarts), 3);
    }

    #[test]
    fn a_missing_column_is_named() {
        assert_eq!(Campaign::parse("none", "run\n1\n").map(|_| ()), Err("no column cell".to_owned()));
    }
}
