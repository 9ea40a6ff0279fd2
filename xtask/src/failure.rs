//! How a task fails.

use std::fmt;

/// What went wrong, with the exit status that says so.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    text: String,
}

impl Failure {
    /// What was to be found out or made has failed.
    pub(crate) const FAILED: u8 = 1;
    /// The arguments are wrong.
    pub(crate) const USAGE: u8 = 2;
    /// Something is missing here and could not be set up.
    pub(crate) const SETUP: u8 = 3;
    /// A machine or program ended that had to go on; the emulated host froze.
    pub(crate) const ENDED: u8 = 4;

    pub(crate) fn new(status: u8, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::new(Self::FAILED, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
