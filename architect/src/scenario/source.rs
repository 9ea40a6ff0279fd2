//! Where in its file a scenario is wrong: line, column and key.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::suggest;
use crate::error::{Error, Report};

/// A scenario's text, and the values from the command line that replace its own.
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    /// The file's name in messages.
    pub(super) place: &'a str,
    pub(super) sets: &'a [(String, String)],
}

impl Source<'_> {
    /// The error about a value that makes no sense, by its key: `fault[2].when.tick`.
    pub(super) fn wrong(&self, key: &str, what: String, remedy: &str) -> Error {
        if let Some((key, value)) = self.sets.iter().rev().find(|(set, _)| key == set || below(key, set)) {
            return Error::Input(Report::new(what, format!("--set {key}={value}"), remedy));
        }
        let table = DeTable::parse(self.text).ok();
        let place = match table.and_then(|table| offset_of(table.get_ref(), key)) {
            Some(offset) => self.at(offset),
            None => self.place.to_owned(),
        };
        Error::Input(Report::new(what, format!("{place}, key {key}"), remedy))
    }

    /// The file is not TOML, or a value has not the type of its key.
    pub(super) fn wrong_type(&self, error: &toml::de::Error) -> Error {
        let offset = error.span().map_or(0, |span| span.start);
        let mut place = self.at(offset);
        // Even a file that is no TOML has keys up to the place of the mistake.
        let (table, _) = DeTable::parse_recoverable(self.text);
        if let Some(key) = key_at(table.get_ref(), offset).or_else(|| self.word_at(offset)) {
            place = format!("{place}, key {key}");
        }
        Error::Input(Report::new(error.message().to_owned(), place, suggest::remedy(error.message())))
    }

    /// The word at this offset: a key that stands in the file a second time.
    fn word_at(&self, offset: usize) -> Option<String> {
        let is_key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let rest = self.text.get(offset..)?;
        let word = &rest[..rest.find(|c| !is_key(c)).unwrap_or(rest.len())];
        (!word.is_empty()).then(|| word.to_owned())
    }

    fn at(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{}, line {line}, column {column}", self.place)
    }
}

/// The error about a key of the file at `place` that is wrong only in the light of something else, such as the programs
/// of the boot module.
pub fn wrong_in(place: &str, key: &str, what: String, remedy: &str) -> Error {
    let text = std::fs::read_to_string(place).unwrap_or_default();
    Source { text: &text, place, sets: &[] }.wrong(key, what, remedy)
}

fn below(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// The offset of a key's value, or of the section that lacks the key.
fn offset_of(table: &DeTable<'_>, key: &str) -> Option<usize> {
    let (name, rest) = match key.find(['.', '[']) {
        Some(end) => key.split_at(end),
        None => (key, ""),
    };
    let value = table.iter().find(|(key, _)| key.get_ref().as_ref() == name)?.1;
    Some(within(value, rest))
}

fn within(value: &Spanned<DeValue<'_>>, rest: &str) -> usize {
    let deeper = match value.get_ref() {
        DeValue::Table(table) => rest.strip_prefix('.').and_then(|rest| offset_of(table, rest)),
        DeValue::Array(list) => rest.strip_prefix('[').and_then(|rest| {
            let (index, rest) = rest.split_once(']')?;
            list.get(index.parse::<usize>().ok()?).map(|value| within(value, rest))
        }),
        _ => None,
    };
    deeper.unwrap_or(value.span().start)
}

/// The key whose name or value is at this offset.
fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    let (name, value) = table
        .iter()
        .find(|(key, value)| key.span().contains(&offset) || value.span().contains(&offset))
        .or_else(|| {
            // The entries of a section may be far from its header.
            table.iter().find(|(_, value)| in_value(value, offset).is_some())
        })?;
    Some(format!("{}{}", name.get_ref(), in_value(value, offset).unwrap_or_default()))
}

fn in_value(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<String> {
    match value.get_ref() {
        DeValue::Table(table) => key_at(table, offset).map(|key| format!(".{key}")),
        DeValue::Array(list) => list.iter().enumerate().find_map(|(nth, value)| {
            let deeper = in_value(value, offset);
            let here = value.span().contains(&offset);
            (here || deeper.is_some()).then(|| format!("[{nth}]{}", deeper.unwrap_or_default()))
        }),
        _ => None,
    }
}
