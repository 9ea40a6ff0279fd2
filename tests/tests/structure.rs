//! The layers hold: no import runs upwards and no two modules import each other, in any crate, and crates depend on each
//! other in one direction.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tests::structure::{Module, Violation, crate_modules, uses, violations};

/// The crates, from the bottom up, each with its root; a crate may depend on those before it.
const CRATES: &[(&str, &str)] = &[
    ("address", "lib.rs"),
    ("abi", "lib.rs"),
    ("devices", "lib.rs"),
    ("introspect", "lib.rs"),
    ("guest-kernel", "lib.rs"),
    ("guest-user", "lib.rs"),
    ("vmm", "lib.rs"),
    ("architect", "lib.rs"),
    ("xtask", "main.rs"),
];

/// Where circles are allowed, and why.
const ALLOWED: &[(&str, &str)] = &[
    // The entry stub, the tables that point to it and the machine that resumes from it are one mechanism of the
    // processor: each holds addresses of the other.
    ("guest-kernel", "arch"),
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

fn modules(name: &str, root: &str) -> BTreeMap<Vec<String>, Module> {
    crate_modules(&workspace().join(name).join("src").join(root))
}

fn is_allowed(name: &str, violation: &Violation) -> bool {
    let within = |path: &[String]| {
        ALLOWED.iter().any(|(of, module)| *of == name && path.first().is_some_and(|first| first == module))
    };
    match violation {
        Violation::Upward(of) => within(&of.to),
        Violation::Circle { parent, .. } => within(parent),
    }
}

#[test]
fn no_import_runs_upwards_and_no_modules_form_a_circle() {
    let mut broken = Vec::new();
    println!("{:<40} {:>5} {:>7}", "folder", "files", "lines");
    for (name, root) in CRATES {
        let modules = modules(name, root);
        let mut folders: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for module in modules.values() {
            let folder = module.file.parent().and_then(|folder| folder.strip_prefix(workspace()).ok());
            let entry = folders.entry(folder.expect("in the workspace").display().to_string()).or_default();
            *entry = (entry.0 + 1, entry.1 + module.lines);
        }
        for (folder, (files, lines)) in folders {
            println!("{folder:<40} {files:>5} {lines:>7}");
        }
        let found = violations(&uses(&modules)).into_iter().filter(|violation| !is_allowed(name, violation));
        broken.extend(found.map(|violation| (*name, violation)));
    }
    let upward = broken.iter().filter(|(_, violation)| matches!(violation, Violation::Upward(_))).count();
    println!("{upward} upward imports, {} circles", broken.len() - upward);
    let told: Vec<_> = broken.iter().map(|(name, violation)| format!("{name}: {violation}")).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn crates_depend_in_one_direction() {
    for (nth, (name, _)) in CRATES.iter().enumerate() {
        let manifest = fs::read_to_string(workspace().join(name).join("Cargo.toml")).expect("a manifest");
        let manifest: toml::Table = manifest.parse().expect("TOML");
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
            let place = CRATES.iter().position(|(of, _)| of == dependency);
            assert!(
                place.is_none_or(|place| place < nth),
                "{name} depends on {dependency}, which is above it"
            );
        }
    }
}

/// A crate of three files in a scratch folder.
fn scratch(root: &str, files: &[(&str, &str)]) -> Vec<Violation> {
    let folder = tempfile::tempdir().expect("a scratch folder");
    fs::write(folder.path().join("lib.rs"), root).expect("space");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("space");
        fs::write(path, text).expect("space");
    }
    violations(&uses(&crate_modules(&folder.path().join("lib.rs"))))
}

#[test]
fn a_circle_of_files_is_found_and_a_chain_is_none() {
    let files = |second: &'static str| [("a.rs", "use crate::b::B; pub struct A(B);"), ("b.rs", second)];
    assert_eq!(scratch("mod a; mod b;", &files("pub struct B;")), []);
    let found = scratch("mod a; mod b;", &files("pub struct B; fn f() -> crate::a::A { todo!() }"));
    assert!(
        matches!(&found[..], [Violation::Circle { children, .. }] if children == &["a", "b"]),
        "{found:?}"
    );
    // Tests may use whatever they test.
    let tested = "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }";
    assert_eq!(scratch("mod a; mod b;", &files(tested)), []);
}

#[test]
fn a_circle_of_folders_is_found_where_files_form_none() {
    let found = scratch(
        "mod a; mod b;",
        &[
            ("a/mod.rs", "pub mod low; pub mod high;"),
            ("a/low.rs", "pub struct Low;"),
            ("a/high.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::low::Low; pub struct B(Low);"),
        ],
    );
    assert!(matches!(&found[..], [Violation::Circle { parent, .. }] if parent.is_empty()), "{found:?}");
}

#[test]
fn an_upward_import_is_found_and_a_re_export_is_none() {
    let root = |root: &'static str| {
        scratch(
            root,
            &[
                ("a/mod.rs", "mod x; mod y; pub use x::X; pub struct Own;"),
                ("a/x.rs", "pub struct X;"),
                ("a/y.rs", "use super::X;"),
            ],
        )
    };
    assert_eq!(root("mod a;"), []);
    let found =
        scratch("mod a;", &[("a/mod.rs", "mod y; pub struct Own;"), ("a/y.rs", "fn f(_: super::Own) {}")]);
    assert!(
        matches!(&found[..], [Violation::Upward(of)] if of.path == "a::Own" && of.line == 1),
        "{found:?}"
    );
}

#[test]
fn every_crate_of_the_workspace_is_checked() {
    let manifest: toml::Table =
        fs::read_to_string(workspace().join("Cargo.toml")).expect("a manifest").parse().expect("TOML");
    let members = manifest["workspace"]["members"].as_array().expect("members").iter();
    let members: BTreeSet<_> =
        members.filter_map(toml::Value::as_str).filter(|name| *name != "tests").collect();
    assert_eq!(members, CRATES.iter().map(|(name, _)| *name).collect());
}
