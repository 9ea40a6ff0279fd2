//! Writes shell completions and man pages of the command into a folder: `cargo run --example manual -- DIR`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use architect::cli::Cli;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

fn main() -> io::Result<()> {
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
    write_pages(&command, "architect", &pages)
}

/// Writes the page of a command and those of its subcommands, but for `help`, which has nothing to add.
fn write_pages(command: &Command, name: &str, folder: &Path) -> io::Result<()> {
    let mut page = File::create(folder.join(format!("{name}.1")))?;
    Man::new(command.clone()).title(name).render(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        write_pages(subcommand, &format!("{name}-{}", subcommand.get_name()), folder)?;
    }
    Ok(())
}
