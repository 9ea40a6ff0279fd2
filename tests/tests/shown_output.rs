//! Checks that the output which documents show is what the commands print, line by line.
//!
//! A block of the kind `text` is checked in one of two forms:
//!
//! - the line before it is `<!-- output of: COMMAND -->`. COMMAND may be several, joined by ` && `; the block
//!   shows what the last one prints;
//! - the block shows its commands itself, each on a line that begins with `$ `.
//!
//! The commands of a document run in order in one scratch folder, equal ones once. A line `…` stands for any
//! number of lines, and a `…` at the end of a line for the rest of it. Times are not compared. A block that
//! cannot be checked says so before it: `<!-- not checked: REASON -->`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tests::documents::{documents, read, root};
use tests::{architect, run};

/// Documents of which every block of the kind `text` is either checked or says why not.
const CHECKED: [&str; 4] = [
    "README.md",
    "docs/tutorial/ten-minutes.md",
    "docs/how-to/inspect.md",
    "docs/explanation/post-mortem.md",
];
/// Stands for what is left out.
const ELISION: &str = "…";

/// Lines that a document shows, and the commands that print them.
#[derive(Debug, PartialEq)]
struct Shown {
    /// Number of the line in the document, from 1.
    line: usize,
    /// What to run, in order; the last one prints the lines.
    commands: Vec<String>,
    lines: Vec<String>,
}

/// Returns the text between `start` and the end of an HTML comment.
fn comment<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix("<!-- ")?.strip_prefix(start)?.strip_suffix(" -->")
}

/// Returns what a document shows, and the lines at which blocks begin that are neither checked nor excused.
fn shown(text: &str) -> (Vec<Shown>, Vec<usize>) {
    let (mut all, mut unmarked) = (Vec::new(), Vec::new());
    let mut before = "";
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line != "```text" {
            before = line;
            continue;
        }
        let block: Vec<_> =
            lines.by_ref().take_while(|(_, line)| *line != "```").map(|(_, line)| line).collect();
        if comment(before, "not checked: ").is_some() {
            continue;
        }
        let found = match comment(before, "output of: ") {
            Some(command) => vec![Shown {
                line: at + 1,
                commands: command.split(" && ").map(str::to_owned).collect(),
                lines: block.iter().map(|line| (*line).to_owned()).collect(),
            }],
            None => session(at + 2, &block),
        };
        if found.is_empty() {
            unmarked.push(at + 1);
        }
        all.extend(found);
    }
    (all, unmarked)
}

/// Splits a block, whose first line has the number `first`, at its commands.
fn session(first: usize, block: &[&str]) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for (line, text) in (first..).zip(block) {
        match (text.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => {
                all.push(Shown { line, commands: vec![command.to_owned()], lines: Vec::new() });
            }
            (None, Some(shown)) => shown.lines.push((*text).to_owned()),
            (None, None) => {}
        }
    }
    all
}

/// Replaces the numbers that differ from run to run: the wall time, and the share of it that audits took.
fn mask(line: &str) -> String {
    let line = mask_number_before(line.trim_end(), " s)");
    mask_number_before(&line, " % of the time")
}

fn mask_number_before(line: &str, unit: &str) -> String {
    let Some((start, rest)) = line.split_once(unit) else { return line.to_owned() };
    let without = start.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.');
    format!("{without}N{unit}{rest}")
}

/// Returns whether `shown` is what was printed, with parts left out where it says so.
fn agrees(shown: &[String], printed: &[String]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return printed.is_empty() };
    if first.trim() == ELISION {
        return (0..=printed.len()).any(|left_out| agrees(rest, &printed[left_out..]));
    }
    let Some((line, further)) = printed.split_first() else { return false };
    let same = match first.strip_suffix(ELISION) {
        Some(start) => line.starts_with(start),
        None => line == first,
    };
    same && agrees(rest, further)
}

/// Returns masked lines without blank ones at the end.
fn masked<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<_> = lines.map(mask).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Runs a command of a document, and returns what it prints: first standard output, then standard error.
fn print(command: &str, folder: &Path) -> String {
    let mut words = command.split_whitespace();
    match words.next() {
        Some("scripts/architect" | "architect") => {
            let outcome = run(architect().args(words).current_dir(folder));
            outcome.stdout + &outcome.stderr
        }
        Some("cat") => words.map(|path| read(&folder.join(path))).collect(),
        _ => panic!("`{command}`: only `scripts/architect` and `cat` can be checked"),
    }
}

/// Checks all that a document shows.
fn check(document: &str) {
    assert!(CHECKED.contains(&document), "{document} is not in the list of checked documents");
    let (all, unmarked) = shown(&read(&root().join(document)));
    assert!(unmarked.is_empty(), "{document}: blocks without a command, in lines {unmarked:?}");
    assert!(!all.is_empty(), "{document} shows nothing");
    let folder = tempfile::tempdir().expect("a scratch folder");
    fs::create_dir(folder.path().join("out")).expect("an empty scratch folder");
    symlink(root().join("scenarios"), folder.path().join("scenarios")).expect("an empty scratch folder");
    let mut printed = BTreeMap::new();
    let mut wrong = Vec::new();
    for shown in &all {
        for command in &shown.commands {
            printed.entry(command).or_insert_with(|| print(command, folder.path()));
        }
        let text = &printed[shown.commands.last().expect("a block has a command")];
        if !agrees(&masked(shown.lines.iter().map(String::as_str)), &masked(text.lines())) {
            wrong.push(format!("{document}:{}: {:?} prints:\n{text}", shown.line, shown.commands));
        }
    }
    assert!(wrong.is_empty(), "other output than shown:\n{}", wrong.join("\n"));
}

#[test]
fn the_readme_shows_what_its_commands_print() {
    check("README.md");
}

#[test]
fn the_tutorial_shows_what_its_commands_print() {
    check("docs/tutorial/ten-minutes.md");
}

#[test]
fn the_page_on_dumps_shows_what_its_commands_print() {
    check("docs/how-to/inspect.md");
}

#[test]
fn the_page_on_the_post_mortem_shows_what_its_commands_print() {
    check("docs/explanation/post-mortem.md");
}

#[test]
fn no_other_document_has_output_to_check() {
    let root = root();
    for path in documents() {
        let name = path.strip_prefix(&root).expect("documents are in the repository");
        let listed = CHECKED.iter().any(|checked| name == Path::new(checked));
        let (all, _) = shown(&read(&path));
        assert!(listed || all.is_empty(), "{}: add it to the list of checked documents", name.display());
    }
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn a_document_is_split_into_commands_and_their_output() {
    let text = "<!-- output of: architect a && architect b -->\n```text\none\n```\n\n\
                <!-- not checked: slow -->\n```text\ntwo\n```\n\n\
                ```text\n$ architect c\nthree\n\n$ architect d\n```\n\n```text\nfour\n```\n```sh\nfive\n```\n";
    let (all, unmarked) = shown(text);
    let expected = [
        Shown { line: 2, commands: owned(&["architect a", "architect b"]), lines: owned(&["one"]) },
        Shown { line: 12, commands: owned(&["architect c"]), lines: owned(&["three", ""]) },
        Shown { line: 15, commands: owned(&["architect d"]), lines: Vec::new() },
    ];
    assert_eq!(all, expected);
    assert_eq!(unmarked, [18]);
}

#[test]
fn only_what_is_left_out_may_differ() {
    let printed = owned(&["a", "b 1", "c", "d"]);
    for same in [&["a", "b 1", "c", "d"][..], &["a", "…", "d"], &["…"], &["a", "b…", "  …", "c", "d"]]
    {
        assert!(agrees(&owned(same), &printed), "{same:?}");
    }
    for other in
        [&["a", "b 2", "c", "d"][..], &["a", "b 1", "c"], &["a", "…", "x", "d"], &["a", "c…", "…"], &[]]
    {
        assert!(!agrees(&owned(other), &printed), "{other:?}");
    }
}

#[test]
fn only_times_are_masked() {
    assert_eq!(mask("x, seed 6: recovered (850 ticks, 5.2 s)"), "x, seed 6: recovered (850 ticks, N s)");
    assert_eq!(
        mask("  monitor   0 kills; audits took 1.5 % of the time"),
        "  monitor   0 kills; audits took N % of the time"
    );
    for kept in ["  trace     5587 events, 8301708453648c3a", "recovered  20  100.0 %   83.9 % to 100.0 %"] {
        assert_eq!(mask(kept), kept);
    }
}
