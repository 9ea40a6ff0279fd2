//! What an error tells the user.

use std::fmt;
use std::path::Path;

/// What is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What is wrong.
    pub what: String,
    /// Where: a file with line and column, a key, an option, an address.
    pub place: String,
    /// What to do about it.
    pub remedy: String,
}

impl Report {
    /// A report from its three parts.
    pub fn new(what: impl Into<String>, place: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), place: place.into(), remedy: remedy.into() }
    }

    /// A file that could not be used: `doing` is the attempt ("read", "write"), `option` the option that
    /// named it.
    pub fn file(doing: &str, option: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(
            format!("cannot {doing} the file: {error}"),
            format!("{option} {}", path.display()),
            "check the path, its permissions and the free space",
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  where:  {}\n  remedy: {}", self.what, self.place, self.remedy)
    }
}
