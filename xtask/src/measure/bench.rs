//! `cargo xtask bench`: measures what the Architect costs (`architect bench`), and writes the figures into
//! `docs/explanation/performance.md`, between its marks.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::failure::Failure;
use crate::host::{Files, Host, architect, on_svm_host};
use crate::workspace::{output, printed, root, say, tied};

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Tables to measure; all without any
    #[arg(value_enum)]
    tables: Vec<Table>,
}

/// A table of the document.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Table {
    /// One run on this machine's KVM
    Here,
    /// One run on the emulated host
    Svm,
    /// How far the ratios of nine runs on this machine's KVM lie apart
    Ratios,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Svm => "svm",
            Self::Ratios => "ratios",
        }
    }
}

/// The ratio to its floor that each measure shall not exceed (`campaign`: not fall below).
const GOALS: [(&str, f64); 12] = [
    ("start", 1.3),
    ("exit", 1.05),
    ("reset-16", 1.5),
    ("reset-256", 1.5),
    ("reset-2048", 1.5),
    ("fork", 1.3),
    ("audit-full", 2.0),
    ("audit-delta", 4.0),
    ("overhead", 1.1),
    ("teardown", 1.3),
    ("vm-memory", 1.5),
    ("campaign", 0.9),
];

/// Runs of which the spread is shown: an odd number, so that one of them is the median.
const RUNS: usize = 9;

/// Measures the tables and writes each into the document.
///
/// # Errors
///
/// A measurement that failed, or the document.
pub(crate) fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let architect = architect()?;
    let tables = if args.tables.is_empty() { Table::value_variants() } else { &args.tables };
    for table in tables {
        let text = match table {
            Table::Here => output(tied(&architect).arg("bench"))?,
            Table::Svm => on_svm(&architect)?,
            Table::Ratios => ratios(&architect)?,
        };
        write(&format!("<!-- bench {} -->", table.name()), &text)?;
        say(&format!("measured: {}", table.name()));
    }
    Ok(())
}

fn on_svm(architect: &Path) -> Result<String, Failure> {
    Host::Svm.set_up()?;
    let extend = |command: &mut Command| {
        command.arg("bench");
    };
    let output = on_svm_host(&Files::default(), architect, extend)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::from(printed(&output)))
}

/// What is read of a measure.
#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    ratio: f64,
}

fn ratios(architect: &Path) -> Result<String, Failure> {
    let run = |_| {
        let text = output(tied(architect).args(["bench", "--json"]))?;
        serde_json::from_str(&text).map_err(|error| format!("architect bench --json: {error}"))
    };
    let runs = (0..RUNS).map(run).collect::<Result<Vec<Vec<Row>>, String>>()?;
    Ok(spread(&runs))
}

/// The ratios of each measure over all runs, by size.
fn spread(runs: &[Vec<Row>]) -> String {
    let mut text = format!("{:15}  goal  median  nine runs, by size\n", "measure");
    for Row { name, .. } in runs.first().into_iter().flatten() {
        let rows = runs.iter().flatten().filter(|row| row.name == *name);
        let mut ratios: Vec<_> = rows.map(|row| row.ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let goal = GOALS.iter().find(|(of, _)| of == name).map(|(_, goal)| format!("{goal:4.2}"));
        let shown: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let (goal, median) = (goal.unwrap_or_else(|| " ".repeat(4)), ratios[ratios.len() / 2]);
        text += &format!("{name:15}  {goal}  {median:6.2}  {}\n", shown.join(" "));
    }
    text
}

/// Puts a table between its mark and the end mark.
fn write(mark: &str, table: &str) -> Result<(), String> {
    let path = root().join("docs/explanation/performance.md");
    let failed = |error| format!("{}: {error}", path.display());
    let text = fs::read_to_string(&path).map_err(failed)?;
    let text = replaced(&text, mark, table).ok_or_else(|| format!("{}: no {mark}", path.display()))?;
    fs::write(&path, text).map_err(failed)
}

fn replaced(text: &str, mark: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(&format!("{mark}\n"))?;
    let (_, after) = rest.split_once("<!-- end -->\n")?;
    Some(format!("{before}{mark}\n```text\n{table}```\n<!-- end -->\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::{Row, replaced, spread};

    #[test]
    fn a_table_replaces_the_one_after_its_mark() {
        let text = "a\n<!-- bench here -->\nold\n<!-- end -->\nb\n<!-- bench svm -->\nx\n<!-- end -->\n";
        let expected = text.replace("old\n", "```text\nnew\n```\n");
        assert_eq!(replaced(text, "<!-- bench here -->", "new\n"), Some(expected));
        assert_eq!(replaced(text, "<!-- bench there -->", "new\n"), None);
    }

    #[test]
    fn ratios_are_shown_by_size_with_their_median() {
        let run = |ratio| vec![Row { name: "exit".to_owned(), ratio }];
        let text = spread(&[run(1.5), run(1.0), run(1.25)]);
        assert_eq!(text.lines().nth(1), Some("exit             1.05    1.25  1.00 1.25 1.50"));
    }
}
