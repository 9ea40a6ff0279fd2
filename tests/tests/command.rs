//! The command itself, as a file: how it is linked.

use object::{Object, ObjectSection, ObjectSymbol};
use tests::architect_path;

/// In a command with the C library that starts fast; the linker does nothing of it for others.
#[test]
fn what_a_start_calls_lies_side_by_side() {
    let file = std::fs::read(architect_path()).unwrap();
    let command = object::File::parse(&*file).unwrap();
    let Some(section) = command.section_by_name(".text.start") else {
        let musl = command.symbols().any(|symbol| symbol.name() == Ok("libc_start_main_stage2"));
        assert!(!musl, "the linker was not given architect/start.ld");
        return;
    };
    let there = command.symbols().filter(|symbol| symbol.section_index() == Some(section.index()));
    let there: Vec<_> = there.filter_map(|symbol| symbol.name().ok()).collect();
    // What stands between the wildcards of a name, in this order.
    let is_meant = |pattern: &str, name: &str| {
        let rest = pattern.split(['*', '?']).try_fold(name, |rest, part| Some(rest.split_once(part)?.1));
        rest.is_some()
    };
    let lines = include_str!("../../architect/start.ld").lines();
    let listed = lines.filter_map(|line| line.trim().strip_prefix("*(.text.")?.strip_suffix(')'));
    let (found, gone): (Vec<_>, Vec<_>) =
        listed.partition(|pattern| there.iter().any(|name| is_meant(pattern, name)));
    assert!(found.len() > 3 * gone.len(), "run scripts/order-start: nothing is called {gone:#?}");
}
