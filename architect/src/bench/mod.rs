//! `architect bench`: what this program costs, each figure beside its floor, the least that the host allows.
//!
//! A subject is a file with a function that measures one or several rows. Product and floor are measured in turns in one
//! run, so that what else the machine does hits both, and what is told is the medians. A ratio of 1 would mean that this
//! program adds nothing.

mod audit;
mod campaign;
mod crowd;
mod floor;
mod guest;
mod machine;
mod measure;
mod memory;
mod overhead;
mod start;

use clap::Args;
use serde_json::Value;

use crate::error::{Error, Report};
use crate::files::output::print;
use measure::Row;
use vmm::host::kvm::Kvm;

/// What can be measured, by the names of its rows.
const SUBJECTS: [(&[&str], Measure); 9] = [
    (&["start"], start::measure),
    (&["exit"], machine::exit),
    (&["reset-16", "reset-256", "reset-2048", "reset-own", "reset-blind"], machine::reset),
    (&["fork"], machine::fork),
    (&["audit-full", "audit-delta"], audit::measure),
    (&["overhead"], overhead::measure),
    (&["teardown"], machine::teardown),
    (&["vm-memory"], memory::measure),
    (&["campaign", "campaign-own"], campaign::measure),
];

/// What measures a subject.
type Measure = fn(&Kvm) -> Result<Vec<Row>, Error>;

/// Measure the cost of starts, exits, resets, forks and audits beside their floors
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Measure only rows with this in their name, as in reset or audit
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// Print one JSON document on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Measures everything and prints it; returns the exit status.
pub fn bench(args: &BenchArgs) -> Result<u8, Error> {
    let kvm = Kvm::open()?;
    let mut rows = Vec::new();
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    for (names, measure) in SUBJECTS {
        if names.iter().any(|name| wanted(name)) {
            rows.extend(measure(&kvm)?);
        }
    }
    rows.retain(|row| wanted(row.name));
    if let (Some(only), []) = (&args.only, &rows[..]) {
        let known = SUBJECTS.map(|(names, _)| names.join(", ")).join(", ");
        return Err(Error::Input(Report::new(
            "there is no such measure",
            format!("--only {only}"),
            format!("give a part of one of these names: {known}"),
        )));
    }
    let text = if args.json {
        format!("{:#}\n", Value::Array(rows.iter().map(Row::to_json).collect()))
    } else {
        table(&rows)
    };
    print(&text)?;
    Ok(0)
}

/// The rows for people; behind each median the middle half of what was measured.
fn table(rows: &[Row]) -> String {
    let heads = ["median", "middle half", "floor", "middle half", "ratio", "n"];
    let [a, b, c, d, e, f] = heads;
    let mut text = format!("{:<11} unit {a:>9} {b:>19} {c:>9} {d:>19} {e:>6} {f:>5}\n", "measure");
    for row in rows {
        let Row { name, unit, median, floor, spread, n } = row;
        let [ours, theirs] = spread.map(|[from, to]| format!("{from:.1} to {to:.1}"));
        let ratio = row.ratio();
        text += &format!(
            "{name:<11} {unit:<4} {median:>9.1} {ours:>19} {floor:>9.1} {theirs:>19} {ratio:>6.2} {n:>5}\n"
        );
    }
    text
}
