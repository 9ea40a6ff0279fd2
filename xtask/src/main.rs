//! Tasks of this repository: `cargo xtask NAME`. One file per task.

mod checks;
mod dist;
mod picture;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Dist(args) => dist::dist(&args),
        Task::Structure(args) => checks::structure(&args),
        Task::Style(args) => checks::style(&args),
        Task::Picture(args) => picture::picture(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("cargo xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
