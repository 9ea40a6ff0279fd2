//! The `architect` command.

use std::process::ExitCode;

use architect::cli::{Cli, Command};
use architect::cli::{boot, doctor, run, scenarios};
use architect::error::Error;
use architect::{bench, campaign, inspect};

/// musl's own allocator maps memory in small pieces: many page faults where a process has just begun.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    match execute(Cli::of(&line).command) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("architect: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// Not a part of `main`: it needs as much stack as the hungriest command, and what understands arguments would come on top.
#[inline(never)]
fn execute(command: Command) -> Result<u8, Error> {
    match command {
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Boot(args) => boot::boot(&args),
        Command::Run(args) => run::run(&args),
        Command::Campaign(args) => campaign::campaign(&args),
        Command::Stats(args) => campaign::stats::stats(&args),
        Command::Hunt(args) => campaign::hunt::hunt(&args),
        Command::Replay(args) => campaign::replay::replay(&args),
        Command::Minimise(args) => campaign::minimise::minimise(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Scenarios(args) => scenarios::scenarios(&args),
        Command::Bench(args) => bench::bench(&args),
    }
}
