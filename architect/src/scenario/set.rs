//! Puts values into a scenario's table: from the command line, and from a sweep.

/// The TOML value that `text` is; a word without quotes is a string.
pub(super) fn value(text: &str) -> toml::Value {
    parse(text).unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// The TOML value that `text` is.
pub(super) fn parse(text: &str) -> Option<toml::Value> {
    format!("value = {text}").parse::<toml::Table>().ok()?.remove("value")
}

/// Puts a value into a table under a key with its sections; `fault[2]` is the third element of a list.
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
