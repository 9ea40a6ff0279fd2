//! The files that a run writes into its folder.

use std::fs::File;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Report, VmmError};
use crate::experiment::incarnation::Console;
use crate::files::folder::Folder;

/// The folder of a run, if it has one.
pub(super) struct RunFiles {
    folder: Option<Folder>,
    console: Option<File>,
}

impl RunFiles {
    /// Creates the folder with the scenario in it. Returns the file of the event stream, too.
    pub(super) fn create(out: Option<&Path>, scenario: &str) -> Result<(Self, Option<File>), Error> {
        let Some(out) = out else { return Ok((Self { folder: None, console: None }, None)) };
        let mut folder = Folder::create(out)?;
        folder.write("scenario.toml", scenario)?;
        let events = folder.file("events.jsonl")?;
        let console = folder.file("console.log")?;
        Ok((Self { folder: Some(folder), console: Some(console) }, Some(events)))
    }

    /// Whether there is a folder.
    pub(super) fn exist(&self) -> bool {
        self.folder.is_some()
    }

    /// A console for the next incarnation, which writes on where the last one stopped.
    pub(super) fn console(&self) -> Result<Console, VmmError> {
        let file = self.console.as_ref().map(File::try_clone).transpose();
        Ok(Console::new(file.map_err(VmmError::resource("the console file"))?))
    }

    /// Writes the post-mortem of an incarnation, as JSON and as text.
    pub(super) fn write_post_mortem(
        &mut self,
        incarnation: u32,
        document: &Value,
        text: &str,
    ) -> Result<(), Error> {
        let Some(folder) = &mut self.folder else { return Ok(()) };
        let name = file_name("post-mortem", incarnation);
        folder.write(&format!("{name}.json"), &format!("{document:#}\n"))?;
        folder.write(&format!("{name}.txt"), text)
    }

    /// Writes the core file of an incarnation by `write`.
    pub(super) fn write_core(
        &mut self,
        incarnation: u32,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), Error> {
        let Some(folder) = &mut self.folder else { return Ok(()) };
        let mut file = folder.file(&format!("{}.elf", file_name("core", incarnation)))?;
        write(&mut file).map_err(|error| folder.failed(&error))
    }

    /// The error of an event stream that could not be written.
    pub(super) fn stream_failed(&self, error: &io::Error) -> Error {
        match &self.folder {
            Some(folder) => folder.failed(error),
            None => Error::Input(Report::new(
                error.to_string(),
                "the event stream",
                "check the free space of the file system",
            )),
        }
    }

    /// Writes the verdict; from now on the folder stays.
    pub(super) fn finish(self, verdict: impl FnOnce() -> String) -> Result<(), Error> {
        let Some(mut folder) = self.folder else { return Ok(()) };
        folder.write("verdict.json", &verdict())?;
        folder.keep();
        Ok(())
    }
}

/// The name of a file of this incarnation. The first incarnation is what a run is about, and has no number.
fn file_name(name: &str, incarnation: u32) -> String {
    match incarnation {
        1 => name.to_owned(),
        later => format!("{name}-{later}"),
    }
}
