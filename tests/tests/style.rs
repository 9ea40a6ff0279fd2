//! Code and texts are written as CONTRIBUTING.md asks, as far as a program can judge it: plain English, width
//! of lines, size of files, functions and folders. What is known and yet to be mended is counted in
//! `tests/style-ratchet.txt`; `cargo xtask style` shows each place, and with `--write` counts anew.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::style::{Change, Finding, Known, Rule, Style, judge_text};

#[test]
fn no_file_is_worse_than_listed_and_no_entry_is_out_of_date() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace");
    let list = fs::read_to_string(workspace.join("tests/style-ratchet.txt")).expect("the list");
    let known = Known::parse(&list).unwrap_or_else(|problem| panic!("tests/style-ratchet.txt: {problem}"));
    let changes = known.changes(&Style::of(&workspace).findings);
    assert!(changes.is_empty(), "\n{}", changes.iter().map(ToString::to_string).collect::<String>());
}

/// Rule and line of each finding in a file of this name.
fn judged(name: &str, text: &str) -> Vec<(Rule, usize)> {
    judge_text(Path::new(name), text).iter().map(|finding| (finding.rule, finding.line)).collect()
}

#[test]
fn phrases_are_found_in_comments_and_not_in_code() {
    let text = "/// Nobody is asked.\nfn f() { let nobody = \"who is // whom\"; } // Code.\n";
    assert_eq!(judged("a.rs", text), [(Rule::English, 1)]);
    // A comment after code and the lines below it are one text.
    let text = "fn f() {} // the frames are so\n// many\n";
    assert_eq!(judged("a.rs", text), [(Rule::English, 1)]);
    assert_eq!(judged("a.toml", "a = \"# whom\" # it is whom\n"), [(Rule::English, 1)]);
    assert_eq!(judged("a.toml", "a = \"# whom\"\n"), []);
    assert_eq!(judged("script", "#!/bin/sh\necho whom\n# whom\n"), [(Rule::English, 3)]);
}

#[test]
fn strings_characters_and_lifetimes_hide_no_comment() {
    let text =
        "fn f<'a>(s: &'a str) { let _ = ('\"', b'\\'', r#\"\" // whom\"#, \"\\\" // whom\"); } // whom\n";
    assert_eq!(judged("a.rs", text), [(Rule::English, 1)]);
}

#[test]
fn phrases_are_found_in_markdown_and_not_in_its_code() {
    assert_eq!(
        judged("a.md", "Those who\nis `whom`.\n\n```text\nwhom\n```\nSo, many do.\n"),
        [(Rule::English, 1)]
    );
}

#[test]
fn documentation_that_begins_with_gives_is_found() {
    assert_eq!(judged("a.rs", "/// Gives a name.\nfn f() {}\n"), [(Rule::English, 1)]);
    assert_eq!(
        judged("a.rs", "// Gives a name.\nfn f() {}\n/// Names it.\n///\n/// It Gives up.\nfn g() {}\n"),
        []
    );
}

#[test]
fn wide_lines_are_found_but_for_tables_links_and_code() {
    let wide = "word ".repeat(23);
    assert_eq!(judged("a.md", &format!("{wide}\n")), [(Rule::Width, 1)]);
    let exempt = format!(
        "| {wide} |\n\n```text\n{wide}\n```\n\n- https://{}\n\n[a]: {wide}\n{}\n",
        "x".repeat(120),
        &wide[..110]
    );
    assert_eq!(judged("a.md", &exempt), []);
    assert_eq!(judged("a.rs", &format!("// {wide}\nconst A: &str = \"{wide}\";\n")), [(Rule::Width, 1)]);
}

#[test]
fn long_files_and_functions_are_found() {
    let function = |lines: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2));
    assert_eq!(judged("a.rs", &function(70)), []);
    assert_eq!(judged("a.rs", &format!("\n{}", function(71))), [(Rule::FunctionLength, 2)]);
    assert_eq!(judged("a.rs", &"\n".repeat(500)), []);
    assert_eq!(judged("a.rs", &"\n".repeat(501)), [(Rule::FileLength, 0)]);
}

#[test]
fn folders_of_more_than_sixteen_files_are_found() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for nth in 0..17 {
        fs::write(folder.path().join(format!("f{nth}.rs")), "").expect("space");
    }
    let style = Style::of(folder.path());
    assert_eq!(style.findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [Rule::FolderSize]);
    fs::remove_file(folder.path().join("f0.rs")).expect("the file");
    let style = Style::of(folder.path());
    assert_eq!((style.findings, style.growing), (vec![], vec![(PathBuf::new(), 16)]));
}

#[test]
fn a_file_may_be_neither_worse_nor_better_than_listed() {
    let finding =
        |path: &str, line| Finding { path: path.into(), line, rule: Rule::English, what: String::new() };
    let findings = [finding("a.rs", 1), finding("b.rs", 1), finding("b.rs", 2)];
    let list = Known::count(&findings);
    assert_eq!(Known::parse(&format!("# Why.\n{list}")), Ok(list.clone()));
    assert_eq!(list.changes(&findings), []);
    assert_eq!(list.changes(&findings[1..]), [Change::Better("a.rs".into(), "english")]);
    let worse = [&findings[..], &[finding("a.rs", 9)]].concat();
    let both = vec![findings[0].clone(), finding("a.rs", 9)];
    assert_eq!(list.changes(&worse), [Change::Worse(both)]);
    assert!(Known::parse("1 beauty a.rs\n").is_err());
}
