//! The layers hold: no import runs upwards and no two modules import each other, in any crate, and crates
//! depend on each other in one direction. `xtask/src/structure/mod.rs` states the rules precisely; `cargo
//! xtask structure` prints what these tests check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use xtask::structure::{
    CRATES, Survey, Violation, allowed, crate_modules, crates_out_of_order, uses, violations,
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// Every break of the rules is in `tests/structure-allow.txt`, and every line there is still needed.
#[test]
fn no_import_runs_upwards_and_no_modules_form_a_circle() {
    let survey = Survey::of(&workspace());
    println!("{survey}");
    let list = fs::read_to_string(workspace().join("tests/structure-allow.txt")).expect("the allow-list");
    let (broken, allowed) = (survey.broken(), allowed(&list));
    let new: Vec<_> = broken.difference(&allowed).collect();
    assert!(new.is_empty(), "not allowed; `cargo xtask structure` shows the lines: {new:#?}");
    let unused: Vec<_> = allowed.difference(&broken).collect();
    assert!(unused.is_empty(), "remove from tests/structure-allow.txt what is mended: {unused:#?}");
}

#[test]
fn crates_depend_in_one_direction() {
    assert_eq!(crates_out_of_order(&workspace()), []);
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
    let found = scratch("mod a; mod b;", &files("pub struct B; fn f() -> crate::a::A { loop {} }"));
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
fn a_path_among_the_arguments_of_a_macro_counts() {
    let files = |code: &'static str| [("a.rs", "use crate::b::B;"), ("b.rs", code)];
    assert_eq!(scratch("mod a; mod b;", &files("pub struct B; fn f(a: u8) { assert!(a == b'a'); }")), []);
    let found = scratch("mod a; mod b;", &files("pub struct B; fn f() { println!(\"{}\", crate::a::f()); }"));
    assert!(matches!(&found[..], [Violation::Circle { .. }]), "{found:?}");
}

#[test]
fn a_violation_names_file_and_line() {
    let found = scratch("mod a;\npub struct Own;", &[("a.rs", "\nfn f(_: crate::Own) {}")]);
    let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(matches!(&shown[..], [one] if one.ends_with("/a.rs:2: a uses Own")), "{shown:?}");
}

#[test]
fn the_allow_list_skips_comments() {
    let list = allowed("# Why.\n\na/src/b.rs uses the root\n");
    assert_eq!(list, BTreeSet::from(["a/src/b.rs uses the root".to_owned()]));
}

#[test]
fn a_dependency_on_a_crate_above_is_found() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for name in CRATES {
        let below = if name == "abi" { "vmm.workspace = true" } else { "libc.workspace = true" };
        fs::create_dir_all(folder.path().join(name)).expect("space");
        let manifest = format!("[dependencies]\n{below}\n");
        fs::write(folder.path().join(name).join("Cargo.toml"), manifest).expect("space");
    }
    assert_eq!(crates_out_of_order(folder.path()), [("abi", "vmm".to_owned())]);
}

#[test]
fn every_crate_of_the_workspace_is_checked() {
    let manifest: toml::Table =
        fs::read_to_string(workspace().join("Cargo.toml")).expect("a manifest").parse().expect("TOML");
    let members = manifest["workspace"]["members"].as_array().expect("members").iter();
    let members: BTreeSet<_> = members.filter_map(toml::Value::as_str).collect();
    assert_eq!(members, CRATES.into_iter().collect());
}
