//! Sweeps: keys that a campaign varies, each over a list of values, in all combinations.
//!
//! ```toml
//! [sweep]
//! fixes.pager = [false, true]
//! load.people = [20, 40, 60]
//! ```

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::set;

/// The keys, in the order of their names, each with its values as TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep(Vec<(String, Vec<String>)>);

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

    /// The labels of a cell. The value of the last key changes fastest.
    pub(super) fn labels(&self, mut cell: usize) -> Vec<(String, String)> {
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
            let values = values.iter().filter_map(|value| set::parse(value)).collect();
            let _ = set::put(&mut table, key, toml::Value::Array(values));
        }
        table.serialize(to)
    }
}
