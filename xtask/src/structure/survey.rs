//! All crates of the workspace, held against the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::modules::{Module, crate_modules};
use super::paths::{Use, uses};
use super::rules::{Violation, violations};

/// The crates, from the bottom up; a crate may depend on those before it.
pub const CRATES: [&str; 10] = [
    "address",
    "abi",
    "devices",
    "introspect",
    "guest-kernel",
    "guest-user",
    "vmm",
    "architect",
    "xtask",
    "tests",
];

/// Where modules may use each other: crate and folder.
const EXEMPT: [(&str, &str); 1] = [
    // The entry stub, the tables that point to it and the machine that resumes from it are one mechanism of
    // the processor: each holds addresses of the other.
    ("guest-kernel", "arch"),
];

/// What the crates look like, and where they break the rules.
#[derive(Debug, Default)]
pub struct Survey {
    /// Each folder with the number of its files and of their lines.
    folders: BTreeMap<PathBuf, (usize, usize)>,
    /// The crate and the break.
    broken: Vec<(&'static str, Violation)>,
}

impl Survey {
    /// Reads the code of all crates of the workspace in this folder.
    ///
    /// # Panics
    ///
    /// A file that is declared does not exist, or does not parse.
    pub fn of(workspace: &Path) -> Self {
        let mut survey = Self::default();
        for name in CRATES {
            for root in roots(&workspace.join(name).join("src")) {
                survey.add(name, &crate_modules(&root), workspace);
            }
        }
        survey
    }

    /// The breaks of the rules as lines of the allow-list: which file uses which module, or which modules
    /// form a circle. Lines do not move with the code around them.
    pub fn broken(&self) -> BTreeSet<String> {
        let line = |(name, violation): &(&str, Violation)| match violation {
            Violation::Upward(of) => {
                let above = if of.to.is_empty() { "the root" } else { &of.to.join("::") };
                format!("{} uses {above}", of.file.display())
            }
            Violation::Circle { parent, children, .. } => {
                format!("{name}: circle in {}: {}", parent.join("::"), children.join(", "))
            }
        };
        self.broken.iter().map(line).collect()
    }

    fn add(&mut self, name: &'static str, modules: &BTreeMap<Vec<String>, Module>, workspace: &Path) {
        for module in modules.values() {
            let folder = module.file.parent().unwrap_or(workspace);
            let folder = folder.strip_prefix(workspace).unwrap_or(folder).to_owned();
            let entry = self.folders.entry(folder).or_default();
            *entry = (entry.0 + 1, entry.1 + module.lines);
        }
        let relative = |of: Use| {
            let file = of.file.strip_prefix(workspace).unwrap_or(&of.file).to_owned();
            Use { file, ..of }
        };
        let uses = uses(modules).into_iter().map(relative).collect();
        let found = violations(&uses).into_iter().filter(|violation| !is_exempt(name, violation));
        self.broken.extend(found.map(|violation| (name, violation)));
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40} {:>5} {:>7}", "folder", "files", "lines")?;
        for (folder, (files, lines)) in &self.folders {
            writeln!(f, "{:<40} {files:>5} {lines:>7}", folder.display())?;
        }
        for (name, violation) in &self.broken {
            writeln!(f, "{name}: {violation}")?;
        }
        let upward =
            self.broken.iter().filter(|(_, violation)| matches!(violation, Violation::Upward(_))).count();
        write!(f, "{upward} upward imports, {} circles", self.broken.len() - upward)
    }
}

/// The breaks of the rules that a list allows, one a line; lines that begin with `#` are comments.
pub fn allowed(list: &str) -> BTreeSet<String> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// The files from which a crate's library and programs begin.
fn roots(source: &Path) -> Vec<PathBuf> {
    let mut roots = vec![source.join("lib.rs"), source.join("main.rs")];
    for entry in fs::read_dir(source.join("bin")).into_iter().flatten().flatten() {
        let path = entry.path();
        roots.push(if path.is_dir() { path.join("main.rs") } else { path });
    }
    roots.retain(|root| root.is_file());
    roots
}

fn is_exempt(name: &str, violation: &Violation) -> bool {
    let within = |path: &[String]| {
        EXEMPT.iter().any(|(of, module)| *of == name && path.first().is_some_and(|first| first == module))
    };
    match violation {
        Violation::Upward(of) => within(&of.to),
        Violation::Circle { parent, .. } => within(parent),
    }
}

/// The dependencies that point up: each crate with one that is not before it in [`CRATES`].
///
/// # Panics
///
/// A crate's manifest cannot be read.
pub fn crates_out_of_order(workspace: &Path) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    for (nth, name) in CRATES.into_iter().enumerate() {
        let manifest = manifest(&workspace.join(name).join("Cargo.toml"));
        let tables = ["dependencies", "build-dependencies"].map(|of| manifest.get(of)?.as_table());
        for dependency in tables.into_iter().flatten().flat_map(toml::Table::keys) {
            if CRATES[nth..].contains(&dependency.as_str()) {
                wrong.push((name, dependency.clone()));
            }
        }
    }
    wrong
}

fn manifest(path: &Path) -> toml::Table {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
