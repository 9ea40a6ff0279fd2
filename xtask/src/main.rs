//! Tasks of this repository: `cargo xtask NAME`. One file per task.

mod campaigns;
mod checks;
mod dist;
mod failure;
mod host;
mod measure;
mod picture;
mod rates;
mod trials;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use campaigns::{beats, fixes, shards, sweep};
use failure::Failure;
use measure::{bench, campaign_rate, count_instructions};
use rates::fill;
use trials::{differential, fuzz, seeds};

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
    /// Try many seeds of the demo and of the healthy scenario
    Seeds(seeds::SeedsArgs),
    /// Measure what the Architect costs, and write the figures into docs/explanation/performance.md
    Bench(bench::BenchArgs),
    /// Compare a campaign's rate with starting QEMU once for each run
    CampaignRate(campaign_rate::CampaignRateArgs),
    /// Count the instructions of the kernel's paths
    CountInstructions,
    /// Search for memory and files that break the crate introspect
    Fuzz(fuzz::FuzzArgs),
    /// Compare the page walk with those of other projects
    Differential,
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
            Self::Seeds(args) => seeds::seeds(args),
            Self::Bench(args) => bench::bench(args),
            Self::CampaignRate(args) => campaign_rate::campaign_rate(args),
            Self::CountInstructions => count_instructions::count_instructions(),
            Self::Fuzz(args) => fuzz::fuzz(args),
            Self::Differential => differential::differential(),
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
