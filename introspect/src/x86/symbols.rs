//! Names for addresses: the function that an instruction belongs to and the source line that it was compiled
//! from, by the kernel's own ELF file (its symbol table, and its DWARF line tables if it has them).
//!
//! The file is untrusted: a broken one yields an error or fewer names, and never a panic.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use address::GuestVirt;
use object::elf::FileHeader64;
use object::read::elf::ElfFile;
use object::{LittleEndian as Little, Object, ObjectSection, ObjectSymbol, SymbolKind, SymbolSection};

/// The path of Rust's own library in line tables.
const TOOLCHAIN: &str = "/rustc/";

/// A file has no usable names.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SymbolsError {
    /// It is not an ELF file of the supported kind.
    #[error("this is not a 64-bit little-endian ELF file: {0}")]
    NotElf(String),
    /// It has no symbols: it was stripped.
    #[error("this file has no symbol table: it was stripped; use the file that the linker wrote")]
    Stripped,
}

/// One name in a symbol table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol<'a> {
    /// The name as the linker has it.
    pub name: &'a str,
    /// Its first address.
    pub address: GuestVirt,
    /// Its size in bytes; 0 if the file does not say.
    pub size: u64,
    /// Whether it is code.
    pub code: bool,
    /// One past the last address that can belong to it: its own end, or the end of its section if it has no
    /// size.
    end: u64,
}

impl<'a> Symbol<'a> {
    /// Returns the demangled name.
    pub fn readable(&self) -> Cow<'a, str> {
        addr2line::demangle_auto(Cow::Borrowed(self.name), None)
    }
}

/// A source line.
#[derive(Clone, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Line {
    /// The file, as the compiler recorded it. A path below the folder of the build is relative to it.
    pub file: String,
    /// The line, from 1; 0 if the compiler could not say.
    pub line: u32,
}

/// The source position of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The function or other symbol, demangled.
    pub name: String,
    /// Offset from its first address, in bytes.
    pub offset: u64,
    /// The source line, if the file has line tables for it. For inlined code this is the innermost line that
    /// is not in the compiler's own library, so it may be in another file than the function.
    pub line: Option<Line>,
}

/// `name+0x12 (src/file.rs:34)`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", self.name, self.offset)?;
        match &self.line {
            Some(Line { file, line: 0 }) => write!(f, " ({file})"),
            Some(Line { file, line }) => write!(f, " ({file}:{line})"),
            None => Ok(()),
        }
    }
}

/// The names of one ELF file.
pub struct Symbols<'a> {
    /// Sorted by address, then by name.
    symbols: Vec<Symbol<'a>>,
    by_name: HashMap<&'a str, GuestVirt>,
    lines: Option<Context<EndianSlice<'a, LittleEndian>>>,
}

impl fmt::Debug for Symbols<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines.is_some();
        f.debug_struct("Symbols").field("symbols", &self.symbols.len()).field("lines", &lines).finish()
    }
}

impl<'a> Symbols<'a> {
    /// How many symbols to examine before an address: some may be nested in the one that it belongs to.
    const NEST: usize = 32;

    /// Reads the names of the ELF file with these bytes. Line tables are decoded at their first use.
    ///
    /// # Errors
    /// [`SymbolsError`] if it is not a supported ELF file, or has no symbols. Broken, compressed or missing
    /// line tables are no error: places then have no line.
    pub fn parse(file: &'a [u8]) -> Result<Self, SymbolsError> {
        let elf = ElfFile::<FileHeader64<Little>>::parse(file)
            .map_err(|error| SymbolsError::NotElf(error.to_string()))?;
        let mut symbols: Vec<_> = elf
            .symbols()
            .filter(|symbol| !matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File))
            .filter_map(|symbol| {
                let name = symbol.name().ok().filter(|name| !name.is_empty())?;
                let SymbolSection::Section(section) = symbol.section() else { return None };
                let section = elf.section_by_index(section).ok()?;
                let (address, size, code) =
                    (symbol.address(), symbol.size(), symbol.kind() == SymbolKind::Text);
                let end = match size {
                    0 => section.address().saturating_add(section.size()),
                    _ => address.saturating_add(size),
                };
                Some(Symbol { name, address: GuestVirt(address), size, code, end })
            })
            .collect();
        if symbols.is_empty() {
            return Err(SymbolsError::Stripped);
        }
        symbols.sort_by_key(|symbol| (symbol.address, symbol.name));
        let mut by_name = HashMap::with_capacity(symbols.len());
        for symbol in &symbols {
            by_name.entry(symbol.name).or_insert(symbol.address);
        }
        Ok(Self { symbols, by_name, lines: lines(&elf) })
    }

    /// Returns all names, by rising address, then by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Symbol<'a>> {
        self.symbols.iter()
    }

    /// Returns the address of a name, mangled or demangled. If several symbols have it, the first.
    pub fn address(&self, name: &str) -> Option<GuestVirt> {
        self.by_name.get(name).copied().or_else(|| {
            self.symbols.iter().find(|symbol| symbol.readable() == name).map(|symbol| symbol.address)
        })
    }

    /// Returns the symbol that an address belongs to: the nearest that starts at or before it and does not
    /// end before it. A symbol without a size reaches to the next one, or to the end of its section.
    pub fn symbol(&self, at: GuestVirt) -> Option<&Symbol<'a>> {
        let before = self.symbols.get(..self.symbols.partition_point(|symbol| symbol.address <= at))?;
        let near = before.iter().rev().take(Self::NEST).filter(|symbol| at.0 < symbol.end);
        near.max_by_key(|symbol| (symbol.address, symbol.code, symbol.size != 0))
    }

    /// Returns the source position of an address; `None` if it belongs to no symbol.
    pub fn place(&self, at: GuestVirt) -> Option<Place> {
        let symbol = self.symbol(at)?;
        Some(Place {
            name: symbol.readable().into_owned(),
            offset: at.0 - symbol.address.0,
            line: self.line(at),
        })
    }

    /// Returns the addresses where the instructions of a source line begin, in rising order: one for each
    /// copy of the line, inlined copies included. `file` is the end of its path, in whole path components.
    /// Only code that belongs to a symbol counts.
    pub fn addresses_of_line(&self, file: &str, line: u32) -> Vec<GuestVirt> {
        let (Some(lines), Some(first), Some(last)) = (&self.lines, self.symbols.first(), self.symbols.last())
        else {
            return Vec::new();
        };
        let is_meant =
            |path: &str| path.strip_suffix(file).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
        let mut found = Vec::new();
        let Ok(ranges) = lines.find_location_range(first.address.0, last.end) else { return found };
        let mut end_of_last = 0;
        for (start, bytes, location) in ranges {
            if location.line != Some(line) || !location.file.is_some_and(is_meant) {
                continue;
            }
            // Consecutive rows of the same line are one place.
            if start != end_of_last && self.symbol(GuestVirt(start)).is_some_and(|symbol| symbol.code) {
                found.push(GuestVirt(start));
            }
            end_of_last = start.saturating_add(bytes);
        }
        found.sort();
        found.dedup();
        found
    }

    /// Returns the source line that an instruction was compiled from.
    pub fn line(&self, at: GuestVirt) -> Option<Line> {
        let mut frames = self.lines.as_ref()?.find_frames(at.0).skip_all_loads().ok()?;
        let mut found = None;
        // From the innermost inlined function outwards.
        while let Ok(Some(frame)) = frames.next() {
            let Some((file, line)) =
                frame.location.and_then(|location| Some((location.file?, location.line)))
            else {
                continue;
            };
            let line = Line { file: file.trim_start_matches("./").to_owned(), line: line.unwrap_or(0) };
            if !file.starts_with(TOOLCHAIN) {
                return Some(line);
            }
            found.get_or_insert(line);
        }
        found
    }
}

/// Returns the line tables, if the file has readable ones.
fn lines<'a>(elf: &ElfFile<'a, FileHeader64<Little>>) -> Option<Context<EndianSlice<'a, LittleEndian>>> {
    let section = |id: SectionId| -> Result<_, std::convert::Infallible> {
        let section = elf.section_by_name(id.name());
        // A compressed section cannot be read in place; treat it as missing.
        let plain = section.filter(|section| {
            section.compressed_file_range().is_ok_and(|range| range.format == object::CompressionFormat::None)
        });
        let bytes = plain.and_then(|section| section.data().ok()).unwrap_or(&[]);
        Ok(EndianSlice::new(bytes, LittleEndian))
    };
    let Ok(dwarf) = Dwarf::load(section);
    Context::from_dwarf(dwarf).ok()
}
