//! `architect inspect`: reads a dump. Each subject is a module that turns the findings of [`introspect`] into an
//! answer: text for people, a document for programs, both in the same order.

mod answer;
pub mod args;
mod frames;
mod leaks;
mod maps;
mod names;
mod ps;
mod read;
mod roots;
mod shared;
mod source;
mod symbols;
mod table;
mod translate;

use serde_json::{Value, json};

use self::args::{InspectArgs, Subject};
use self::source::Source;
use crate::error::Error;
use crate::files::output::print;

/// Inspects a dump; returns the exit status.
///
/// # Errors
///
/// The dump cannot be read, or does not have what is asked for.
pub fn inspect(args: &InspectArgs) -> Result<u8, Error> {
    let source = Source::open(args)?;
    let (name, answer) = match &args.subject {
        Subject::Ps => ("ps", ps::answer(&source)?),
        Subject::Roots => ("roots", roots::answer(&source)?),
        Subject::Maps { who } => ("maps", maps::answer(&source, *who)?),
        Subject::Translate { at, who } => ("translate", translate::answer(&source, *at, *who)?),
        Subject::Frames { frame: None } => ("frames", frames::all(&source)?),
        Subject::Frames { frame: Some(frame) } => ("frames", frames::one(&source, *frame)?),
        Subject::Shared => ("shared", shared::answer(&source)?),
        Subject::Leaks { policy } => ("leaks", leaks::answer(&source, *policy)?),
        Subject::Symbols { wanted, image } => {
            ("symbols", symbols::answer(&source, wanted, image.as_deref())?)
        }
        Subject::Read { at, len, who } => ("read", read::answer(&source, *at, *len, *who)?),
    };
    let remarks: Vec<_> = source.dump.remarks().iter().map(ToString::to_string).collect();
    let text = if args.json {
        let mut document =
            json!({"version": 1, "source": source.path.display().to_string(), "subject": name});
        if let (Some(document), Value::Object(answer)) = (document.as_object_mut(), answer.json) {
            document.extend(answer);
            document.insert("remarks".into(), remarks.into());
        }
        format!("{document:#}\n")
    } else {
        for remark in remarks {
            eprintln!("architect: note: {remark}");
        }
        answer.text
    };
    print(&text)?;
    Ok(0)
}
