//! Tasks of this repository: `cargo xtask NAME`. One file per task.

mod dist;
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
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Dist(args) => dist::dist(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("cargo xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
