//! `architect scenarios`: what is shipped inside the command.

use clap::{Args, Subcommand};

use crate::error::{Error, Report};
use crate::files::output::print;
use crate::files::text::wrap;
use crate::scenario::{reference, shipped};

/// List the scenarios inside the command, print one, or print all keys
#[derive(Debug, Args)]
pub struct ScenariosArgs {
    /// What to print; without it the list.
    #[command(subcommand)]
    pub subject: Option<ScenariosSubject>,
}

/// What `architect scenarios` prints.
#[derive(Debug, Subcommand)]
pub enum ScenariosSubject {
    /// Print the text of a shipped scenario, as a start for your own
    Show {
        /// The scenario's name
        name: String,
    },
    /// Print the reference of all keys, as Markdown
    Keys,
}

/// Prints the list, a scenario, or the reference of all keys; returns the exit status.
///
/// # Errors
///
/// There is no such scenario, or standard output cannot be written.
pub fn scenarios(args: &ScenariosArgs) -> Result<u8, Error> {
    match &args.subject {
        None => print(&list())?,
        Some(ScenariosSubject::Keys) => print(&reference::markdown())?,
        Some(ScenariosSubject::Show { name }) => {
            let text = shipped::text(name).ok_or_else(|| {
                Error::Input(Report::new(
                    format!("there is no scenario `{name}`"),
                    "the shipped scenarios",
                    "`architect scenarios` lists them",
                ))
            })?;
            print(text)?;
        }
    }
    Ok(0)
}

/// The column of the descriptions, in a terminal of 80.
const INDENT: &str = "                      ";

fn list() -> String {
    let mut list = String::new();
    for (name, text) in shipped::SHIPPED {
        let about = shipped::about(text);
        let lines = wrap(first_sentence(&about), 58, INDENT);
        list.push_str(&format!("{name:<22}{lines}"));
    }
    list.push_str(
        "\nRun one:        architect run NAME\nStart your own: architect scenarios show NAME > mine.toml\n",
    );
    list
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}
