//! Values from elsewhere in place of a scenario's own: from the command line, and from a sweep.

use super::Scenario;
use crate::error::{Error, Report};

/// The scenario with one more value from the command line in its table.
pub(super) fn with(table: &mut toml::Table, key: &str, value: &str) -> Result<Scenario, Error> {
    let wrong = |what: &str, remedy| Error::Input(Report::new(what, format!("--set {key}={value}"), remedy));
    // What is no TOML value is a word without its quotes.
    let parsed =
        format!("value = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("value"));
    let parsed = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    put(table, key, parsed)
        .map_err(|what| wrong(what, "write a key with its section and a value, as in vm.memory-mib=24"))?;
    table.clone().try_into().map_err(|error: toml::de::Error| {
        wrong(error.message(), "the keys and their values are described in scenarios/README.md")
    })
}

/// Puts a value into a table, by a key with its sections; `fault[2]` is the third of a list.
pub(super) fn put(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), &'static str> {
    let mut parts: Vec<_> = key.split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or("a key is missing")?;
    let mut here = table;
    for part in parts {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => {
                (name, index.strip_suffix(']').and_then(|index| index.parse::<usize>().ok()))
            }
            None => (part, None),
        };
        let section = here.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let section = match index {
            Some(index) => section.as_array_mut().and_then(|list| list.get_mut(index)),
            None => Some(section),
        };
        here = section.and_then(toml::Value::as_table_mut).ok_or("a part of the key is not a section")?;
    }
    here.insert(last.to_owned(), value);
    Ok(())
}
