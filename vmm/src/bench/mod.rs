//! `architect bench`: what this program costs, each figure beside its floor, the least that the host allows.
//!
//! A subject is a file with a function that measures one or several rows. Product and floor are measured in turns in one
//! run, so that what else the machine does hits both, and what is told is the medians. A ratio of 1 would mean that this
//! program adds nothing.

mod audit;
mod crowd;
mod floor;
mod guest;
mod machine;
mod measure;
mod memory;
mod start;

use std::io::Write;

use serde_json::Value;

use crate::cli::BenchArgs;
use crate::error::{Error, Report};
use crate::kvm::Kvm;
use measure::Row;

/// What can be measured.
const SUBJECTS: [Measure; 4] = [start::measure, machine::measure, memory::measure, audit::measure];

/// What measures a subject.
type Measure = fn(&Kvm) -> Result<Vec<Row>, Error>;

/// Measures everything and prints it; gives the exit status.
pub fn bench(args: &BenchArgs) -> Result<u8, Error> {
    let kvm = Kvm::open()?;
    let mut rows = Vec::new();
    for subject in SUBJECTS {
        rows.extend(subject(&kvm)?);
    }
    let text = if args.json {
        format!("{:#}\n", Value::Array(rows.iter().map(Row::to_json).collect()))
    } else {
        table(&rows)
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| {
        Error::Input(Report::new(error.to_string(), "standard output", "check the reader of standard output"))
    })?;
    Ok(0)
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<14} {:>10} {:>10} {:>7} {:>7}\n", "measure", "median", "floor", "ratio", "n");
    for row in rows {
        let Row { name, unit, median, floor, n, .. } = row;
        let ratio = row.ratio();
        text += &format!("{name:<14} {median:>7.1} {unit:<3} {floor:>7.1} {unit:<3} {ratio:>6.2} {n:>7}\n");
    }
    text
}
