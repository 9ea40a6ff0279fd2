//! The cells of a sweep: one scenario for each combination of values.

use super::document::Scenario;
use super::source::Source;
use super::sweep::Sweep;
use super::{set, suggest};
use crate::error::Error;

/// Most combinations of a sweep.
const MOST_CELLS: usize = 4096;
/// Keys that a sweep cannot vary, and why.
const FIXED: [(&str, &str); 5] = [
    ("name", "cells have labels of their own"),
    ("seed", "a campaign varies the seed by itself"),
    ("sweep", "a sweep has no sweeps"),
    ("vm.module", "a sweep compares runs of one boot module"),
    ("vm.vms", "a campaign starts its own guests"),
];

/// One combination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The keys that vary, with their values as TOML, in the order of the keys.
    pub labels: Vec<(String, String)>,
    /// The scenario with these values, and without a sweep. What it leaves open is not drawn yet.
    pub scenario: Scenario,
}

impl Scenario {
    /// All combinations of a sweep; the scenario itself, if nothing varies.
    pub fn cells(&self) -> Vec<Cell> {
        let cells = (0..self.sweep.len()).filter_map(|cell| {
            let labels = self.sweep.labels(cell);
            let scenario = self.with(&labels).ok()?;
            Some(Cell { labels, scenario })
        });
        cells.collect()
    }

    /// With these values, and without a sweep.
    fn with(&self, labels: &[(String, String)]) -> Result<Self, String> {
        let plain = Self { sweep: Sweep::default(), ..self.clone() };
        if labels.is_empty() {
            return Ok(plain);
        }
        let mut table = toml::Table::try_from(&plain).map_err(|error| error.to_string())?;
        for (key, value) in labels {
            let value = set::parse(value).ok_or("no TOML value")?;
            set::put(&mut table, key, value)?;
        }
        table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }

    /// Checks that each value is one that its key can have while all other keys stay as they are.
    pub(super) fn check_sweep(&self, source: &Source<'_>) -> Result<(), Error> {
        for (key, values) in self.sweep.factors() {
            let at = format!("sweep.{key}");
            if let Some((_, why)) =
                FIXED.iter().find(|(fixed, _)| key == fixed || key.starts_with(&format!("{fixed}.")))
            {
                return Err(source.wrong(&at, format!("`{key}` cannot vary: {why}"), "vary another key"));
            }
            for (nth, value) in values.iter().enumerate() {
                let at = format!("{at}[{nth}]");
                let label = [(key.clone(), value.clone())];
                let varied = self.with(&label).map_err(|what| {
                    let remedy = suggest::remedy(&what);
                    source.wrong(&at, what, &remedy)
                })?;
                varied.check(source).map_err(|error| match error {
                    Error::Input(report) => source.wrong(&at, report.what, &report.remedy),
                    other => other,
                })?;
                if values[..nth].contains(value) {
                    return Err(source.wrong(
                        &at,
                        format!("{value} is in the list already"),
                        "give each value once",
                    ));
                }
            }
        }
        match self.sweep.len() {
            0..=MOST_CELLS => Ok(()),
            many => {
                let what = format!("{many} combinations are more than {MOST_CELLS}");
                Err(source.wrong("sweep", what, "vary fewer keys, or over fewer values"))
            }
        }
    }
}
