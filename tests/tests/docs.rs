//! Checks what the documents say about the repository, as far as a program can: paths and links lead
//! somewhere, every dependency has its reason, and the scenario keys are those that the command accepts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tests::documents::{documents, files, read, root};
use tests::{architect, run};

/// Folders that builds and runs make. A path in them need not exist.
const MADE: [&str; 2] = ["target/", "out/"];

/// Yields the words between back-ticks, in lines and in blocks.
fn code_words(text: &str) -> impl Iterator<Item = &str> {
    assert!(text.matches('`').count().is_multiple_of(2), "a back-tick is missing");
    text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace)
}

/// Yields the paths from the repository's root: words that have a slash, or end as a document does. Hidden
/// files are left out, since the emulated host, where this test runs as well, has none of them.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    code_words(text).filter(|word| {
        (word.contains('/') || word.ends_with(".md"))
            && !word.starts_with(['/', '.'])
            && !MADE.iter().any(|made| word.starts_with(made))
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
    })
}

/// Yields the targets of links to files, without the place in them.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains(':'))
}

/// Yields each path and link of a text in `folder`: as written, and the file that it must lead to.
fn named<'a>(text: &'a str, folder: &'a Path, root: &'a Path) -> impl Iterator<Item = (&'a str, PathBuf)> {
    let paths = paths(text).map(|path| (path, root.join(path)));
    paths.chain(links(text).map(|link| (link, folder.join(link))))
}

#[test]
fn every_path_and_link_in_the_documents_leads_somewhere() {
    let root = root();
    let (mut count, mut wrong) = (0, Vec::new());
    for document in documents() {
        let text = read(&document);
        for (name, path) in named(&text, document.parent().expect("a file has a folder"), &root) {
            count += 1;
            if !path.exists() {
                wrong.push(format!("{}: {name}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "named and not there: {wrong:#?}");
    assert!(count >= 20, "only {count} paths and links were found, so the search is wrong");
}

#[test]
fn a_wrong_path_is_seen() {
    let text = "See [this](gone.md#part), [that](https://example.org/x), `vmm/src/no-such.rs` and\n\
                ```sh\nscripts/gone run scenarios/gone.toml --out out/x\n```\nand `Cargo.toml`, `/dev/kvm`, `GONE.md`.";
    let root = root();
    let gone: Vec<_> =
        named(text, &root, &root).filter(|(_, path)| !path.exists()).map(|(name, _)| name).collect();
    assert_eq!(gone, ["vmm/src/no-such.rs", "scripts/gone", "scenarios/gone.toml", "GONE.md", "gone.md"]);
}

#[test]
fn no_document_and_no_scenario_is_left_out() {
    let root = root();
    let linked: BTreeSet<PathBuf> = documents()
        .iter()
        .flat_map(|document| {
            let folder = document.parent().expect("a file has a folder");
            links(&read(document))
                .filter_map(|link| folder.join(link).canonicalize().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    let mut all = files(&root.join("docs"), "md");
    all.extend(files(&root.join("scenarios"), "toml"));
    assert!(all.len() >= 10, "{all:?}");
    let alone: Vec<_> = all.iter().filter(|path| !linked.contains(*path)).collect();
    assert!(alone.is_empty(), "no document links to {alone:#?}");
}

#[test]
fn every_dependency_has_its_reason() {
    let root = root();
    let manifest = read(&root.join("Cargo.toml"));
    let (_, section) = manifest.split_once("[workspace.dependencies]").expect("the workspace's dependencies");
    let names: Vec<_> = section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    let reasons = read(&root.join("docs/decisions/0008-dependencies.md"));
    let missing: Vec<_> = names.iter().filter(|name| !reasons.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "no reason for {missing:?}");
}

/// Returns the keys in tables whose first column is called "key".
fn documented_keys() -> BTreeSet<String> {
    let text = read(&root().join("docs/reference/scenario-keys.md"));
    let mut keys = BTreeSet::new();
    let mut in_table = false;
    for line in text.lines() {
        in_table = line.starts_with("| key |") || in_table && line.starts_with('|');
        if let Some((key, _)) =
            line.strip_prefix("| `").filter(|_| in_table).and_then(|row| row.split_once('`'))
        {
            keys.insert(key.to_owned());
        }
    }
    keys
}

/// Returns the keys that the command says it would have accepted after `header`; `None` if that is no
/// section.
fn accepted_keys(header: &str) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("wrong.toml");
    fs::write(&path, format!("name = \"x\"\n{header}\nno-such-key = 1\n")).expect("space for a scenario");
    let outcome = run(architect().arg("run").arg(&path));
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    let line = outcome.stderr.lines().next()?;
    let (_, keys) = line.split_once("unknown field `no-such-key`, expected")?;
    Some(keys.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

#[test]
fn the_documented_scenario_keys_are_those_that_are_accepted() {
    let mut accepted = BTreeSet::new();
    for key in accepted_keys("").expect("an unknown key is refused") {
        let section = accepted_keys(&format!("[{key}]")).or_else(|| accepted_keys(&format!("[[{key}]]")));
        match section {
            Some(keys) => accepted.extend(keys.into_iter().map(|of| format!("{key}.{of}"))),
            None => drop(accepted.insert(key)),
        }
    }
    assert!(accepted.contains("seed") && accepted.contains("vm.memory-mib"), "{accepted:?}");
    let documented = documented_keys();
    let of = |these: &BTreeSet<String>, without| these.difference(without).cloned().collect::<Vec<_>>();
    assert_eq!(of(&accepted, &documented), Vec::<String>::new(), "accepted and not documented");
    assert_eq!(of(&documented, &accepted), Vec::<String>::new(), "documented and not accepted");
}
