//! `cargo xtask structure` and `cargo xtask style`: what the test suite checks, with every line that is
//! meant.

use std::fs;

use clap::Args;
use xtask::structure::{Survey, allowed};
use xtask::style::{Change, Known, Style};

use crate::workspace::root;

/// What breaks the structure's rules and is yet to be mended.
const STRUCTURE_LIST: &str = "tests/structure-allow.txt";
/// How many findings of style each file has that are yet to be mended.
const STYLE_LIST: &str = "tests/style-ratchet.txt";

/// Arguments of both checks.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Write what was found into the list in tests/, which the test suite holds it against
    #[arg(long)]
    write: bool,
}

/// Prints files and lines of each folder, and all imports that break the rules.
///
/// # Errors
///
/// Some of them are not in the list, or it cannot be read or written.
pub(crate) fn structure(args: &CheckArgs) -> Result<(), String> {
    let survey = Survey::of(&root());
    println!("{survey}");
    if args.write {
        return write(
            STRUCTURE_LIST,
            &survey.broken().iter().map(|line| format!("{line}\n")).collect::<String>(),
        );
    }
    match survey.broken().difference(&allowed(&read(STRUCTURE_LIST)?)).count() {
        0 => Ok(()),
        new => Err(format!("{new} breaks of the structure are not in {STRUCTURE_LIST}")),
    }
}

/// Prints all findings of style.
///
/// # Errors
///
/// A file has more of them than the list says, or the list cannot be read or written.
pub(crate) fn style(args: &CheckArgs) -> Result<(), String> {
    let style = Style::of(&root());
    for (folder, files) in &style.growing {
        println!("{}: {files} files; is it one subject?", folder.display());
    }
    for finding in &style.findings {
        println!("{finding}");
    }
    println!("{} findings", style.findings.len());
    if args.write {
        return write(STYLE_LIST, &Known::count(&style.findings).to_string());
    }
    let changes = Known::parse(&read(STYLE_LIST)?)?.changes(&style.findings);
    match changes.iter().filter(|change| matches!(change, Change::Worse(_))).count() {
        0 => Ok(()),
        worse => Err(format!("{worse} entries of {STYLE_LIST} are exceeded")),
    }
}

fn read(list: &str) -> Result<String, String> {
    fs::read_to_string(root().join(list)).map_err(|error| format!("{list}: {error}"))
}

fn write(list: &str, text: &str) -> Result<(), String> {
    fs::write(root().join(list), text).map_err(|error| format!("{list}: {error}"))
}
