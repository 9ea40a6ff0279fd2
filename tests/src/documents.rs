//! The project's documents, for tests of what they say.

use std::fs;
use std::path::{Path, PathBuf};

/// Documents outside of `docs/`.
const OUTSIDE: [&str; 5] =
    ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "scenarios/README.md"];

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// The text of a file.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` with this extension.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|of| of == extension) {
            found.push(path);
        }
    }
    found
}

/// All documents: those of the book, and those outside of it.
pub fn documents() -> Vec<PathBuf> {
    let root = root();
    let mut all: Vec<_> = OUTSIDE.iter().map(|name| root.join(name)).collect();
    all.extend(files(&root.join("docs"), "md"));
    all
}
