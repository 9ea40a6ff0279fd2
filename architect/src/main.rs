//! The `architect` command.

use std::process::ExitCode;

use architect::cli::{Cli, Command};
use architect::error::Error;

/// musl's own allocator maps memory in small pieces: many page faults where a process has just begun.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    match execute(&Cli::of(&line).command) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("architect: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// Out of line: it needs as much stack as the hungriest command, on top of which the parser's would come.
#[inline(never)]
fn execute(command: &Command) -> Result<u8, Error> {
    command.execute()
}
