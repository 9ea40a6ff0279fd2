//! Tables for people: columns as wide as what is in them, two spaces between.

use std::fmt;

/// A table. Columns whose heading begins with `>` are numbers, and end at the same place.
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it should have as many cells as there are headings.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.head.len());
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles: Vec<_> = self.head.iter().map(|head| head.trim_start_matches('>')).collect();
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<_> = titles
            .iter()
            .enumerate()
            .map(|(column, title)| {
                cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0).max(title.len())
            })
            .collect();
        let line = |f: &mut fmt::Formatter<'_>, row: &[&str]| {
            let mut text = String::new();
            for ((cell, width), head) in row.iter().zip(&widths).zip(&self.head) {
                let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
                match head.starts_with('>') {
                    true => text.extend([&pad, *cell]),
                    false => text.extend([*cell, &pad]),
                }
                text.push_str("  ");
            }
            writeln!(f, "{}", text.trim_end())
        };
        line(f, &titles)?;
        for row in &self.rows {
            line(f, &row.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// A cell for what may not be there.
pub(super) fn or_dash(cell: Option<impl ToString>) -> String {
    cell.map_or_else(|| "-".to_owned(), |cell| cell.to_string())
}

/// Bytes in the largest unit that divides them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(&["name", ">frames", "why"]);
        table.row(["a".into(), "12".into(), "-".into()]);
        table.row(["longer".into(), "1234567".into(), "x".into()]);
        assert_eq!(table.to_string(), "name     frames  why\na            12  -\nlonger  1234567  x\n");
    }

    #[test]
    fn sizes_keep_their_meaning() {
        assert_eq!(
            [size(0), size(4096), size(3 << 20), size(1 << 30), size(12)],
            ["0", "4 KiB", "3 MiB", "1 GiB", "12 B"]
        );
    }
}
