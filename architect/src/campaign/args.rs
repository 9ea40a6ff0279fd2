//! Arguments of the commands that make and read many runs.

use std::path::PathBuf;

use clap::Args;

use crate::beats::Beat;
use crate::campaign::plan::Vary;
use crate::campaign::replay::Until;
use crate::campaign::shard::Shard;

/// What to run: a scenario with changes.
#[derive(Clone, Debug, Args)]
pub struct SubjectArgs {
    /// The scenario, a TOML file
    pub scenario: PathBuf,
    /// The first seed, instead of the scenario's own; the others follow it
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Another value for a key of the scenario, as in vm.memory-mib=24
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = crate::cli::assignment)]
    pub sets: Vec<(String, String)>,
}

/// Run a scenario many times, from seed to seed, and keep a row of each run in a database
#[derive(Clone, Debug, Args)]
pub struct CampaignArgs {
    /// What to run.
    #[command(flatten)]
    pub subject: SubjectArgs,
    /// How many runs, over all combinations of a sweep together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
    /// Runs at once; without it as many as there are processors
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Make only the I-th of N disjoint parts of the runs; I counts from 0, or from 1: N/N is 0/N
    #[arg(
        long,
        value_name = "I/N",
        default_value = "0/1",
        hide_default_value = true,
        conflicts_with = "precision"
    )]
    pub shard: Shard,
    /// What the runs differ in: the faults, if the scenario has any, else the seed. With faults and `seed`, each run has a
    /// golden run of its own
    #[arg(long, value_name = "WHAT")]
    pub vary: Option<Vary>,
    /// The database, one row a run
    #[arg(long, value_name = "FILE")]
    pub db: PathBuf,
    /// Go on with what is in the database; begin if there is none
    #[arg(long)]
    pub resume: bool,
    /// Do not make those runs whose faults change only what nothing reads before it is rewritten: their rows are told from
    /// the golden run, and are the same
    #[arg(long)]
    pub prune: bool,
    /// Make only as many of the runs as it takes to know the rate of each outcome among all of them to within this margin,
    /// as in 0.03, at 95 %
    #[arg(long, value_name = "MARGIN", value_parser = margin)]
    pub precision: Option<f64>,
}

/// Look for seeds that reach certain beats
#[derive(Clone, Debug, Args)]
pub struct HuntArgs {
    /// What to run.
    #[command(flatten)]
    pub subject: SubjectArgs,
    /// The beats to reach, separated by commas
    #[arg(long, value_name = "BEAT,...", value_delimiter = ',', required = true, value_parser = beat)]
    pub beats: Vec<Beat>,
    /// How many runs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
    /// Runs at once; without it as many as there are processors
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// One JSON document on standard output, and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Tell what became of a campaign's runs: rates with 95 % intervals, and what the factors of a sweep do
#[derive(Clone, Debug, Args)]
pub struct StatsArgs {
    /// Databases of one campaign: one file, or those of its shards
    #[arg(value_name = "DB", required = true)]
    pub databases: Vec<PathBuf>,
    /// Tell only of these outcomes and beats, separated by commas
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub of: Vec<String>,
    /// Say how many runs it takes for intervals of this half width, as in 0.03
    #[arg(long, value_name = "MARGIN", value_parser = margin)]
    pub precision: Option<f64>,
    /// One JSON document on standard output, and nothing else
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// A table for spreadsheets on standard output, and nothing else
    #[arg(long)]
    pub csv: bool,
    /// Every run, with all that is kept of it, as such a table
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub rows: bool,
}

/// Run a run again, and say whether it is the same
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// A run's folder (--out DIR), or a row of a campaign's database by its number
    #[arg(value_name = "DIR|DB#RUN")]
    pub run: PathBuf,
    /// Only up to this event: its number (seq), or a kind and which of them, as in leak-found:2
    #[arg(long, value_name = "EVENT")]
    pub until: Option<Until>,
    /// Write the new run's files into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Find the fewest faults, the least load and the shortest time with which a run ends as it did
#[derive(Clone, Debug, Args)]
pub struct MinimiseArgs {
    /// A run's folder (--out DIR), or a row of a campaign's database by its number
    #[arg(value_name = "DIR|DB#RUN")]
    pub run: PathBuf,
    /// Write the smallest scenario to this file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How many runs at once.
pub(super) fn jobs(wanted: Option<u16>) -> usize {
    wanted.map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from)
}

fn beat(name: &str) -> Result<Beat, String> {
    Beat::ALL.iter().copied().find(|beat| beat.name() == name).ok_or_else(|| {
        let all: Vec<_> = Beat::ALL.iter().map(|beat| beat.name()).collect();
        format!("there are these beats: {}", all.join(", "))
    })
}

fn margin(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(margin) if (0.0001..=0.5).contains(&margin) => Ok(margin),
        _ => Err("give a number from 0.0001 to 0.5, as in 0.03".to_owned()),
    }
}
