//! Writes shell completions and man pages of the command into a folder: `cargo run --example manual -- DIR`.

use std::fs;
use std::path::Path;

use architect::cli::Cli;
use clap::CommandFactory;
use clap_complete::Shell;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).unwrap_or_else(|| "target/manual".into());
    let (completions, pages) = (Path::new(&folder).join("completions"), Path::new(&folder).join("man1"));
    fs::create_dir_all(&completions)?;
    fs::create_dir_all(&pages)?;
    let mut command = Cli::command();
    // Arguments of a subcommand are defined only when it is built.
    command.build();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "architect", &completions)?;
    }
    clap_mangen::generate_to(command, pages)
}
