//! The style of code and texts, as far as a program can judge it: plain English, width of lines, size of
//! files, functions and folders.
//!
//! [`Style::of`] reads every Rust file, manifest, scenario, script and Markdown document of the workspace.
//! English is checked in comments and documents, outside of code between back-ticks; a phrase is found across
//! the end of a line as well. What is known and yet to be mended is counted for each file in a list
//! ([`Known`]): a file may not become worse than its entry, and an entry may not stand where the file has
//! become better.

mod comments;
mod english;
mod files;
mod finding;
mod known;
mod sizes;

use std::path::{Path, PathBuf};

use files::Kind;
pub use finding::{Finding, Rule};
pub use known::{Change, Known};

/// What the rules do not apply to: rule, path, reason.
const EXEMPT: [(Rule, &str, &str); 2] = [
    (
        Rule::FolderSize,
        "guest-user/src/bin",
        "one file for each program; cargo looks for programs in this folder",
    ),
    (Rule::FolderSize, "tests/tests", "one file for each test program; cargo looks for them in this folder"),
];

/// All findings in the workspace.
#[derive(Debug, Default)]
pub struct Style {
    /// In order of their paths.
    pub findings: Vec<Finding>,
    /// Folders of 13 to 16 Rust files, which may soon be too large.
    pub growing: Vec<(PathBuf, usize)>,
}

impl Style {
    /// Reads the workspace in this folder.
    ///
    /// # Panics
    ///
    /// A file cannot be read, or a Rust file does not parse.
    pub fn of(workspace: &Path) -> Self {
        let mut style = Self::default();
        let mut rust_files = Vec::new();
        for (path, kind) in files::texts(workspace) {
            let text = files::read(&workspace.join(&path));
            style.findings.extend(judge(&path, kind, &text));
            if kind == Kind::Rust {
                rust_files.push(path);
            }
        }
        let folders = sizes::folders(&rust_files);
        style.growing = folders.iter().filter(|(_, files)| (13..=16).contains(files)).cloned().collect();
        style.findings.extend(folders.iter().flat_map(|(path, files)| sizes::large_folder(path, *files)));
        style.findings.retain(|finding| !is_exempt(finding));
        style.findings.sort();
        style
    }
}

fn is_exempt(finding: &Finding) -> bool {
    EXEMPT.iter().any(|(rule, path, _)| *rule == finding.rule && finding.path == Path::new(path))
}

/// All findings in one text.
///
/// # Panics
///
/// A Rust file does not parse.
pub fn judge_text(path: &Path, text: &str) -> Vec<Finding> {
    files::kind(path, text).map_or_else(Vec::new, |kind| judge(path, kind, text))
}

fn judge(path: &Path, kind: Kind, text: &str) -> Vec<Finding> {
    let (blocks, lines) = comments::prose(kind, text);
    let mut findings = Vec::new();
    let mut add = |rule, line, what| findings.push(Finding { path: path.to_owned(), line, rule, what });
    for (line, phrase) in blocks.iter().flat_map(english::phrases) {
        add(Rule::English, line, format!("`{phrase}`"));
    }
    for (line, width) in lines {
        add(Rule::Width, line, format!("{width} columns"));
    }
    if kind == Kind::Rust {
        if let Some(lines) = sizes::long_file(text) {
            add(Rule::FileLength, 0, format!("{lines} lines"));
        }
        for (name, line, lines) in sizes::long_functions(path, text) {
            add(Rule::FunctionLength, line, format!("{name} has {lines} lines"));
        }
    }
    findings
}
