//! Sweeps: keys that a campaign varies, each over a list of values, in all combinations.
//!
//! ```toml
//! [sweep]
//! fixes.pager = [false, true]
//! load.people = [20, 40, 60]
//! ```

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::source::Source;
use super::{Scenario, set};
use crate::error::Error;

/// Most combinations.
const MOST_CELLS: usize = 4096;
/// Keys that a sweep cannot vary, and why.
const FIXED: [(&str, &str); 5] = [
    ("name", "the cells' own labels tell them apart"),
    ("seed", "a campaign varies the seed by itself"),
    ("sweep", "a sweep has no sweeps"),
    ("vm.module", "a sweep compares what one boot module does"),
    ("vm.vms", "a campaign starts its own guests"),
];

/// The keys, in the order of their names, each with its values as TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep(Vec<(String, Vec<String>)>);

/// One combination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The keys that vary, with their values as TOML, in the order of the keys.
    pub labels: Vec<(String, String)>,
    /// The scenario with these values, and without a sweep. What it leaves open is not drawn yet.
    pub scenario: Scenario,
}

impl Sweep {
    /// Whether nothing varies.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that vary, and their values as TOML.
    pub fn factors(&self) -> &[(String, Vec<String>)] {
        &self.0
    }

    /// How many combinations there are.
    pub fn len(&self) -> usize {
        self.0.iter().fold(1, |all, (_, values)| all.saturating_mul(values.len()))
    }

    /// The values of a combination: that of the last key changes first.
    fn labels(&self, mut cell: usize) -> Vec<(String, String)> {
        let mut labels = Vec::new();
        for (key, values) in self.0.iter().rev() {
            labels.push((key.clone(), values[cell % values.len()].clone()));
            cell /= values.len();
        }
        labels.reverse();
        labels
    }
}

impl<'de> Deserialize<'de> for Sweep {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut factors = Vec::new();
        flatten("", &toml::Table::deserialize(from)?, &mut factors).map_err(D::Error::custom)?;
        factors.sort();
        Ok(Self(factors))
    }
}

fn flatten(section: &str, table: &toml::Table, into: &mut Vec<(String, Vec<String>)>) -> Result<(), String> {
    for (key, value) in table {
        let key = format!("{section}{key}");
        match value {
            toml::Value::Table(table) => flatten(&format!("{key}."), table, into)?,
            toml::Value::Array(values) if values.is_empty() => {
                return Err(format!("`{key}` has no values to vary over"));
            }
            toml::Value::Array(values) => into.push((key, values.iter().map(ToString::to_string).collect())),
            _ => return Err(format!("`{key}` must be a list of values, as in {key} = [{value}, ...]")),
        }
    }
    Ok(())
}

impl Serialize for Sweep {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut table = toml::Table::new();
        for (key, values) in &self.0 {
            // They were values when they were read.
            let values = values.iter().filter_map(|value| parse(value)).collect();
            let _ = set::put(&mut table, key, toml::Value::Array(values));
        }
        table.serialize(to)
    }
}

fn parse(value: &str) -> Option<toml::Value> {
    format!("value = {value}").parse::<toml::Table>().ok()?.remove("value")
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
            let value = parse(value).ok_or("no TOML value")?;
            set::put(&mut table, key, value)?;
        }
        table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }

    /// Each value must be one that its key can have, with the others as they are, and the corners must make sense.
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
                let remedy = "the keys and their values are described in scenarios/README.md";
                let varied = self.with(&label).map_err(|what| source.wrong(&at, what, remedy))?;
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
