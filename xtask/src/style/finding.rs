//! The rules, and a place that breaks one.

use std::fmt;
use std::path::PathBuf;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A phrase that a native systems engineer would not write.
    English,
    /// A line wider than 110 columns.
    Width,
    /// A Rust file of more than 500 lines.
    FileLength,
    /// A function of more than 70 lines.
    FunctionLength,
    /// A folder of more than 16 Rust files.
    FolderSize,
}

impl Rule {
    /// All rules.
    pub(super) const ALL: [Self; 5] =
        [Self::English, Self::Width, Self::FileLength, Self::FunctionLength, Self::FolderSize];

    /// Its name in lists.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::English => "english",
            Self::Width => "width",
            Self::FileLength => "file-length",
            Self::FunctionLength => "function-length",
            Self::FolderSize => "folder-size",
        }
    }
}

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// File or folder, from the workspace's folder.
    pub path: PathBuf,
    /// The line; 0 where the file as a whole is meant.
    pub line: usize,
    /// The rule.
    pub rule: Rule,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path.display(), self.line, self.rule.name(), self.what)
    }
}
