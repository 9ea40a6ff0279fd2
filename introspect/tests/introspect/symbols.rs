//! Names for addresses: of a file made by hand, of this test program, and of broken files.

use std::sync::OnceLock;

use abi::GuestVirt;
use introspect::x86::symbols::{Symbols, SymbolsError};
use proptest::prelude::*;

/// A symbol of a file made by hand: name, address, size, type (0 label, 1 data, 2 code), section (1 is the
/// text).
type Made = (&'static str, u64, u64, u8, u16);

/// A 64-bit ELF file with 256 bytes of text at 0x1000 and these symbols.
fn file(symbols: &[Made]) -> Vec<u8> {
    let (mut names, mut table) = (vec![0u8], vec![0u8; 24]);
    for &(name, address, size, kind, section) in symbols {
        table.extend((names.len() as u32).to_le_bytes());
        table.extend([0x10 | kind, 0]);
        table.extend(section.to_le_bytes());
        table.extend(address.to_le_bytes());
        table.extend(size.to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
    }
    let titles = b"\0.text\0.symtab\0.strtab\0.shstrtab\0";
    let (text_at, table_at) = (64u64, 64 + 256u64);
    let names_at = table_at + table.len() as u64;
    let titles_at = names_at + names.len() as u64;
    let headers_at = titles_at + titles.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    file.resize(16, 0);
    [2u16, 62].iter().for_each(|half| file.extend(half.to_le_bytes()));
    file.extend(1u32.to_le_bytes());
    [0x1000u64, 0, headers_at].iter().for_each(|word| file.extend(word.to_le_bytes()));
    file.extend(0u32.to_le_bytes());
    [64u16, 56, 0, 64, 5, 4].iter().for_each(|half| file.extend(half.to_le_bytes()));
    file.resize(64 + 256, 0x90);
    file.extend(&table);
    file.extend(&names);
    file.extend(titles);
    let mut header =
        |title: u32, kind: u32, flags: u64, address: u64, at: u64, size: usize, link: u32, entry: u64| {
            [title, kind].iter().for_each(|word| file.extend(word.to_le_bytes()));
            [flags, address, at, size as u64].iter().for_each(|word| file.extend(word.to_le_bytes()));
            [link, 1].iter().for_each(|word| file.extend(word.to_le_bytes()));
            [1, entry].iter().for_each(|word| file.extend(word.to_le_bytes()));
        };
    header(0, 0, 0, 0, 0, 0, 0, 0);
    header(1, 1, 6, 0x1000, text_at, 256, 0, 0);
    header(7, 2, 0, 0, table_at, table.len(), 3, 24);
    header(15, 3, 0, 0, names_at, names.len(), 0, 0);
    header(23, 3, 0, 0, titles_at, titles.len(), 0, 0);
    file
}

const CODE: u8 = 2;
const TEXT: u16 = 1;

fn name_at(symbols: &Symbols<'_>, at: u64) -> Option<String> {
    symbols.place(GuestVirt(at)).map(|place| place.to_string())
}

#[test]
fn an_address_belongs_to_the_nearest_symbol_that_reaches_so_far() {
    let file = file(&[
        ("outer", 0x1010, 0x40, CODE, TEXT),
        ("inner", 0x1020, 0x08, CODE, TEXT),
        ("label", 0x1060, 0, 0, TEXT),
        ("_ZN5crate5thing17h0123456789abcdefE", 0x1080, 0x10, CODE, TEXT),
        ("same_place", 0x1080, 0, 0, TEXT),
        ("a_number", 0x1090, 0, 0, 0xfff1),
        ("elsewhere", 0x10a0, 0, 0, 0),
    ]);
    let symbols = Symbols::parse(&file).unwrap();
    let expected = [
        (0x0fff, None),
        (0x1000, None),
        (0x1010, Some("outer+0x0")),
        (0x1020, Some("inner+0x0")),
        (0x1027, Some("inner+0x7")),
        (0x1028, Some("outer+0x18")),
        (0x104f, Some("outer+0x3f")),
        (0x1050, None),
        (0x1060, Some("label+0x0")),
        (0x107f, Some("label+0x1f")),
        (0x1080, Some("crate::thing+0x0")),
        // A symbol without a size reaches to the end of its section.
        (0x1091, Some("same_place+0x11")),
        (0x10ff, Some("same_place+0x7f")),
        (0x1100, None),
        (u64::MAX, None),
    ];
    for (at, expected) in expected {
        assert_eq!(name_at(&symbols, at).as_deref(), expected, "{at:#x}");
    }
}

#[test]
fn names_lead_to_addresses_and_the_list_is_in_order() {
    let file = file(&[
        ("last", 0x1080, 0, CODE, TEXT),
        ("_ZN5crate5thing17h0123456789abcdefE", 0x1010, 8, CODE, TEXT),
        ("alias", 0x1010, 8, 1, TEXT),
    ]);
    let symbols = Symbols::parse(&file).unwrap();
    let list: Vec<_> =
        symbols.iter().map(|symbol| (symbol.address.0, symbol.readable(), symbol.code)).collect();
    let expected = [(0x1010, "crate::thing", true), (0x1010, "alias", false), (0x1080, "last", true)];
    assert_eq!(list.len(), 3);
    for (found, expected) in list.iter().zip(expected) {
        assert_eq!((found.0, found.1.as_ref(), found.2), expected);
    }
    for (name, address) in [("last", 0x1080), ("crate::thing", 0x1010), ("alias", 0x1010)] {
        assert_eq!(symbols.address(name), Some(GuestVirt(address)));
    }
    assert_eq!(symbols.address("nobody"), None);
}

#[test]
fn what_has_no_names_is_an_error_that_says_so() {
    assert!(matches!(Symbols::parse(b"#!/bin/sh"), Err(SymbolsError::NotElf(_))));
    assert!(matches!(Symbols::parse(&[]), Err(SymbolsError::NotElf(_))));
    assert_eq!(Symbols::parse(&file(&[])).err(), Some(SymbolsError::Stripped));
    let mut narrow = file(&[("it", 0x1000, 1, CODE, TEXT)]);
    narrow[4] = 1;
    assert!(matches!(Symbols::parse(&narrow), Err(SymbolsError::NotElf(_))));
}

/// Reads this test program, which was built with line tables.
fn this_program() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| std::fs::read(std::env::current_exe().unwrap()).unwrap())
}

/// Calls nothing that could be inlined: with any compiler, all of its instructions come from these lines.
#[inline(never)]
fn landmark(number: u64) -> u64 {
    number ^ 1
}

#[test]
fn a_program_with_line_tables_gives_file_and_line() {
    let called = std::hint::black_box(landmark as fn(u64) -> u64);
    assert_eq!(called(2), 3);
    let symbols = Symbols::parse(this_program()).unwrap();
    let address = symbols.address("introspect::symbols::landmark").expect("it is in the symbol table");
    let place = symbols.place(address).unwrap();
    assert_eq!((place.name.as_str(), place.offset), ("introspect::symbols::landmark", 0));
    let line = place.line.expect("tests are built with line tables");
    assert!(line.file.ends_with("tests/introspect/symbols.rs"), "{line:?}");
    // The compiler may take the function's head or its only line for the first instruction.
    let source = include_str!("symbols.rs").lines().nth(line.line as usize - 1).unwrap();
    assert!(["fn landmark(", "number ^ 1"].iter().any(|part| source.contains(part)), "{source}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn broken_files_never_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..64),
        headers in prop::collection::vec((0..64usize, any::<u8>()), 0..3),
        end in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        asked in prop::collection::vec(any::<u64>(), 0..8),
    ) {
        for good in [this_program(), &file(&[("it", 0x1000, 8, CODE, TEXT), ("me", 0x1080, 0, 0, TEXT)])] {
            let mut bytes = good.to_vec();
            for (at, value) in &cuts {
                *at.get_mut(&mut bytes) = *value;
            }
            for (at, value) in &headers {
                bytes[*at] = *value;
            }
            if let Some(end) = &end {
                bytes.truncate(end.index(bytes.len()));
            }
            let Ok(symbols) = Symbols::parse(&bytes) else { continue };
            let known: Vec<_> = symbols.iter().step_by(500).map(|symbol| symbol.address.0).collect();
            for at in asked.iter().chain(&known) {
                let _ = name_at(&symbols, *at);
            }
        }
    }
}
