//! Tasks of this repository: `cargo xtask NAME`. One file per task.

mod campaigns;
mod checks;
mod dist;
mod failure;
mod host;
mod picture;
mod rates;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use campaigns::{beats, fixes, shards, sweep};
use failure::Failure;
use rates::fill;

/// Tasks of this repository
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build what users install: a static command with the guest inside, a .deb, completions and man pages
    Dist(dist::DistArgs),
    /// Show files and lines of each folder, and every import that runs upwards or in a circle
    Structure(checks::CheckArgs),
    /// Show what in code and texts is not as CONTRIBUTING.md asks: English, width, sizes
    Style(checks::CheckArgs),
    /// Draw a run's frames in use and wrong sharings over time, from its events
    Picture(picture::PictureArgs),
    /// Make a campaign in shards that run at once, here or each on an emulated host
    Shards(shards::ShardsArgs),
    /// Show how the rate of leaks grows with the load
    Sweep(sweep::SweepArgs),
    /// Show how often each beat is reached, and that labels have no part in it
    Beats(beats::BeatsArgs),
    /// Show what each fix does by itself and with others
    Fixes(fixes::FixesArgs),
    /// Put the tables and pictures that tasks wrote into documents
    Fill(fill::FillArgs),
}

impl Task {
    fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Dist(args) => Ok(dist::dist(args)?),
            Self::Structure(args) => Ok(checks::structure(args)?),
            Self::Style(args) => Ok(checks::style(args)?),
            Self::Picture(args) => Ok(picture::picture(args)?),
            Self::Shards(args) => shards::shards(args),
            Self::Sweep(args) => sweep::sweep(args),
            Self::Beats(args) => beats::beats(args),
            Self::Fixes(args) => fixes::fixes(args),
            Self::Fill(args) => Ok(fill::fill(args, &workspace::root())?),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().task.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cargo xtask: {failure}");
            ExitCode::from(failure.status)
        }
    }
}
