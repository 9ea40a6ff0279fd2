//! The texts of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

/// What kind of text a file holds, and so where prose stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Comments begin with two slashes.
    Rust,
    /// Comments begin with a hash.
    Toml,
    /// Comments are lines that begin with a hash.
    Script,
    /// All is prose, but for blocks of code.
    Markdown,
}

/// The kind of a file; `None` for one that is not checked.
pub(super) fn kind(path: &Path, text: &str) -> Option<Kind> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => Some(Kind::Rust),
        Some("toml") => Some(Kind::Toml),
        Some("md") => Some(Kind::Markdown),
        Some("sh" | "py") => Some(Kind::Script),
        None if text.starts_with("#!") => Some(Kind::Script),
        _ => None,
    }
}

/// The path of every file that is checked, from the workspace's folder, with its kind.
///
/// Hidden files and what builds and runs make are left out. Git is not asked: the emulated host has none.
pub(super) fn texts(workspace: &Path) -> Vec<(PathBuf, Kind)> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(workspace.join(&folder));
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries.map(|entry| entry.expect("a readable folder")) {
            let name = entry.file_name();
            let path = folder.join(&name);
            let is_made = name == "target" || path == Path::new("out");
            if is_made || name.to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type().is_ok_and(|of| of.is_dir()) {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(entry.path())
                && let Some(kind) = kind(&path, &text)
            {
                found.push((path, kind));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

/// A file's text.
pub(super) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
