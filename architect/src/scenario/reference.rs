//! The reference page of all scenario keys, from their declarations.

use std::fmt::Write as _;

use super::declare::{Key, Kind, Section, Value, toml_name};
use super::fault::keys::{WhatKeys, WhenKeys, WhereKeys};
use super::sections::{AuditKeys, Expect, Fixes, Load, MonitorKeys, Program, VmKeys, WatchdogKeys};
use crate::files::text::wrap;

/// Longest line of text, characters; rows of tables are longer.
const WIDTH: usize = 110;

const HEAD: &str = "\
<!-- Written by `architect scenarios keys`: edit the declarations in architect/src/scenario instead. -->

# Scenario keys

Only `name` must be given; every other key has a default. An unknown key, a value of the wrong type and a value out
of range are refused with exit status 2, the place (line, column, key) and a remedy.

A tick is guest time: `vm.tick-entries` kernel entries, or the jump of an idle guest to its next timer.

| key | values | default | meaning |
|---|---|---|---|
| `name` | text | must be given | The name of the scenario in verdict and summary. |
| `seed` | whole number, from 0 | 1 | The seed of everything that is drawn. |
| `sweep` | tables of lists | none | Keys that a campaign varies, each with a list of values, in all combinations: \
`fixes.pager = [false, true]`. `architect run` ignores it. |
";

const FAULT: &str = "\
## Faults

Each `[[fault]]` breaks one thing. A number or word may also be drawn: `{ uniform = [1, 9] }`, `{ one-of = [1, 4] }`.
Faults need the clock `virtual`.

| key | values | default | meaning |
|---|---|---|---|
| `fault.when` | table | must be given | The trigger, see below. |
| `fault.where` | table | the machine | The site, see below. |
| `fault.what` | table | must be given | The kind of fault, see below. |
| `fault.probability` | 0.0 to 1.0 | 1.0 | The probability that a run has this fault. |
| `fault.draw` | whole number, from 0 | drawn | The seed of what is drawn when the fault acts. Resolved scenarios have it. |
";

/// The page, as Markdown.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    section::<VmKeys>(&mut page, &VmKeys::default());
    section::<Fixes>(&mut page, &Fixes::default());
    section::<Load>(&mut page, &Load::default());
    section::<MonitorKeys>(&mut page, &MonitorKeys::default());
    section::<AuditKeys>(&mut page, &AuditKeys::default());
    section::<WatchdogKeys>(&mut page, &WatchdogKeys::default());
    section::<Program>(&mut page, &Program::default());
    page.push('\n');
    page.push_str(FAULT);
    fault_table(&mut page, "when", WhenKeys::DOCS);
    fault_table(&mut page, "where", WhereKeys::DOCS);
    fault_table(&mut page, "what", WhatKeys::DOCS);
    section::<Expect>(&mut page, &Expect::default());
    page
}

fn section<S: Section>(page: &mut String, defaults: &S) {
    let doc = S::DOC.split_whitespace().collect::<Vec<_>>().join(" ");
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "\n## `{}`\n\n{}\n| key | values | default | meaning |\n|---|---|---|---|\n",
        S::NAME,
        wrap(&doc, WIDTH, "")
    );
    for (key, value) in defaults.entries() {
        let _ = writeln!(
            page,
            "| `{}.{}` | {} | {} | {} |",
            S::NAME,
            key.name(),
            values(key),
            default(value),
            key.doc.trim(),
        );
    }
}

fn values(key: &Key) -> String {
    match key.kind {
        Kind::Number(from, to) => format!("{from} to {to}"),
        Kind::Flag => "true or false".to_owned(),
        Kind::Word(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Other(what) => what.to_owned(),
    }
}

fn default(value: &dyn Value) -> String {
    match value.shown() {
        Some(word) if word.starts_with('"') => format!("`{word}`"),
        Some(shown) => shown,
        None => "none".to_owned(),
    }
}

fn fault_table(page: &mut String, table: &str, docs: &[(&str, &str)]) {
    let _ = write!(page, "\n| key in `{table}` | meaning |\n|---|---|\n");
    for (field, doc) in docs {
        let _ = writeln!(page, "| `{}` | {} |", toml_name(field), doc.trim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_the_one_that_the_declarations_give() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/scenario-keys.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == markdown(), "run: architect scenarios keys > docs/reference/scenario-keys.md");
    }
}
