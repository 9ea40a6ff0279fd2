//! The stats as a table for spreadsheets: a line for each outcome and beat of each cell, or for each run.

use rusqlite::types::Value;

use super::summary::Stats;
use crate::campaign::row::Row;
use crate::campaign::stats::interval::Interval;
use crate::campaign::store::columns::{columns, values};

impl Stats<'_> {
    /// Comma-separated values, with a header.
    pub fn csv(&self) -> String {
        let header = ["cell"].into_iter().chain(self.table.factors.iter().map(String::as_str));
        let mut out = line(header.chain(["kind", "name", "runs", "count", "rate", "low", "high"]));
        for (cell, (levels, tally)) in self.cells.iter().enumerate() {
            for response in &self.responses {
                let seen = tally.seen(response);
                let interval = Interval::wilson(seen.count, seen.of);
                let numbers = [seen.rate(), interval.low, interval.high].map(|number| format!("{number:.6}"));
                let (cell, runs, count) = (cell.to_string(), seen.of.to_string(), seen.count.to_string());
                let fields = [cell.as_str()].into_iter().chain(levels.iter().map(String::as_str));
                let fields = fields.chain([response.kind(), response.name(), &runs, &count]);
                out += &line(fields.chain(numbers.iter().map(String::as_str)));
            }
        }
        out
    }
}

/// Every row with all its columns; what is null is empty.
pub fn rows(rows: &[Row]) -> String {
    let mut out = line(columns().iter().map(String::as_str));
    for row in rows {
        let fields: Vec<_> = values(row)
            .into_iter()
            .map(|value| match value {
                Value::Integer(number) => number.to_string(),
                Value::Text(text) => text,
                // A row has no others.
                _ => String::new(),
            })
            .collect();
        out += &line(fields.iter().map(String::as_str));
    }
    out
}

/// A line as in RFC 4180.
fn line<'f>(fields: impl Iterator<Item = &'f str>) -> String {
    let quoted = fields.map(|field| match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}
