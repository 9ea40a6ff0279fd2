//! Tasks of this repository: `cargo xtask NAME`. One file per task.

mod dist;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::structure::{Survey, allowed};

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
    Structure {
        /// Write all of them into tests/structure-allow.txt
        #[arg(long)]
        write: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Dist(args) => dist::dist(&args),
        Task::Structure { write } => structure(write),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("cargo xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the survey; the exit status says whether the allow-list covers all that breaks the rules.
fn structure(write: bool) -> Result<(), String> {
    let list = workspace::root().join("tests/structure-allow.txt");
    let survey = Survey::of(&workspace::root());
    println!("{survey}");
    if write {
        let lines: String = survey.broken().iter().map(|line| format!("{line}\n")).collect();
        return std::fs::write(&list, lines).map_err(|error| format!("{}: {error}", list.display()));
    }
    let text = std::fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let allowed = allowed(&text);
    match survey.broken().difference(&allowed).count() {
        0 => Ok(()),
        new => Err(format!("{new} breaks of the structure are not in {}", list.display())),
    }
}
