//! `architect stats`: the outcomes of a campaign, with intervals.

use std::path::PathBuf;

use clap::Args;

use super::values::margin;
use crate::campaign::stats::{Stats, rows_csv};
use crate::campaign::store::Table;
use crate::error::Error;
use crate::files::output::print;

/// Summarise a campaign: rates with 95 % intervals, and the effects of a sweep
#[derive(Clone, Debug, Args)]
pub struct StatsArgs {
    /// The databases of one campaign: one file, or one per shard
    #[arg(value_name = "DB", required = true)]
    pub databases: Vec<PathBuf>,
    /// Only these outcomes and beats, separated by commas
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub of: Vec<String>,
    /// Also say how many runs intervals of this half width need, as in 0.03
    #[arg(long, value_name = "MARGIN", value_parser = margin)]
    pub precision: Option<f64>,
    /// Print one JSON document on standard output and nothing else
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print the summary as CSV
    #[arg(long)]
    pub csv: bool,
    /// Print every stored run as CSV
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub rows: bool,
}

/// Reads databases and prints their summary; returns the exit status.
///
/// # Errors
///
/// A database cannot be read, or `--of` names what no run has.
pub fn stats(args: &StatsArgs) -> Result<u8, Error> {
    let table = Table::read(&args.databases)?;
    if args.rows {
        print(&rows_csv(&table.rows))?;
        return Ok(0);
    }
    let stats = Stats::of(&table, args.precision, &args.of)?;
    let text = match (args.json, args.csv) {
        (true, _) => format!("{:#}\n", stats.to_json()),
        (_, true) => stats.csv(),
        _ => stats.text(),
    };
    print(&text)?;
    Ok(0)
}
