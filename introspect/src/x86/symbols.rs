//! Names for addresses: which function an instruction belongs to and which line it was made from, by a kernel's own ELF
//! file (its symbol table, and DWARF line tables where it has them).
//!
//! The file is untrusted like everything else: one that is broken gives an error or fewer names, and never a panic.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use address::GuestVirt;
use object::elf::FileHeader64;
use object::read::elf::ElfFile;
use object::{LittleEndian as Little, Object, ObjectSection, ObjectSymbol, SymbolKind, SymbolSection};

/// Where Rust's compiler says that its own library is.
const TOOLCHAIN: &str = "/rustc/";

/// A file has no names to give.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SymbolsError {
    /// It is not what this reads.
    #[error("this is not a 64-bit little-endian ELF file: {0}")]
    NotElf(String),
    /// It was stripped.
    #[error("this file has no symbol table: it was stripped; use the file that the linker wrote")]
    Stripped,
}

/// One name in a symbol table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol<'a> {
    /// The name as the linker has it.
    pub name: &'a str,
    /// Where it begins.
    pub address: GuestVirt,
    /// Its bytes; 0 if the file does not say.
    pub size: u64,
    /// Whether it is code.
    pub code: bool,
    /// One past the last address that can belong to it: its own end, or that of its section if it has no size.
    end: u64,
}

impl<'a> Symbol<'a> {
    /// The name as people write it, without what a compiler added to it.
    pub fn readable(&self) -> Cow<'a, str> {
        addr2line::demangle_auto(Cow::Borrowed(self.name), None)
    }
}

/// A line of source.
#[derive(Clone, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Line {
    /// The file, as the compiler wrote it down. A path below the folder of the build is given relative to that.
    pub file: String,
    /// The line, from 1; 0 if the compiler could not say.
    pub line: u32,
}

/// Where an address is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The function, or other symbol, as people write it.
    pub name: String,
    /// Bytes from its beginning.
    pub offset: u64,
    /// The line of source, if the file has line tables for it. Of code that was inlined it is the innermost that is not the
    /// compiler's own library's: it may be in another file than the function.
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
    /// By address, and by name for the same address.
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
    /// How many symbols before an address may lie within the one that it belongs to.
    const NEST: usize = 32;

    /// The names in a file with these bytes. Line tables are taken apart when they are first asked.
    ///
    /// # Errors
    /// [`SymbolsError`] if it is no ELF file for this, or has no symbols. Line tables that are broken, compressed or not
    /// there are no error: places then have no line.
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

    /// All names, in rising order of address, and of name for one address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Symbol<'a>> {
        self.symbols.iter()
    }

    /// Where a name is: as the linker has it, or else as people write it. If several things have it, the first.
    pub fn address(&self, name: &str) -> Option<GuestVirt> {
        self.by_name.get(name).copied().or_else(|| {
            self.symbols.iter().find(|symbol| symbol.readable() == name).map(|symbol| symbol.address)
        })
    }

    /// The symbol that an address belongs to: the nearest that begins at or before it and does not end before it. One
    /// without a size reaches to the next, or to the end of its section.
    pub fn symbol(&self, at: GuestVirt) -> Option<&Symbol<'a>> {
        let before = self.symbols.get(..self.symbols.partition_point(|symbol| symbol.address <= at))?;
        let near = before.iter().rev().take(Self::NEST).filter(|symbol| at.0 < symbol.end);
        near.max_by_key(|symbol| (symbol.address, symbol.code, symbol.size != 0))
    }

    /// Where an address is; `None` if it belongs to no symbol.
    pub fn place(&self, at: GuestVirt) -> Option<Place> {
        let symbol = self.symbol(at)?;
        Some(Place {
            name: symbol.readable().into_owned(),
            offset: at.0 - symbol.address.0,
            line: self.line(at),
        })
    }

    /// Where the instructions of a line of source begin, in rising order: once for each place that the line was put in, also
    /// as part of what was inlined there. `file` is the end of its path, whole names only. Only code of symbols counts.
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
            // A line that goes on after another row of its own is one place.
            if start != end_of_last && self.symbol(GuestVirt(start)).is_some_and(|symbol| symbol.code) {
                found.push(GuestVirt(start));
            }
            end_of_last = start.saturating_add(bytes);
        }
        found.sort();
        found.dedup();
        found
    }

    /// The line of source that an instruction was made from.
    pub fn line(&self, at: GuestVirt) -> Option<Line> {
        let mut frames = self.lines.as_ref()?.find_frames(at.0).skip_all_loads().ok()?;
        let mut found = None;
        // From the innermost of what was inlined here outwards.
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

/// The line tables, if the file has any that can be read.
fn lines<'a>(elf: &ElfFile<'a, FileHeader64<Little>>) -> Option<Context<EndianSlice<'a, LittleEndian>>> {
    let section = |id: SectionId| -> Result<_, std::convert::Infallible> {
        let section = elf.section_by_name(id.name());
        // A compressed section is not what it says; it is as good as none.
        let plain = section.filter(|section| {
            section.compressed_file_range().is_ok_and(|range| range.format == object::CompressionFormat::None)
        });
        let bytes = plain.and_then(|section| section.data().ok()).unwrap_or(&[]);
        Ok(EndianSlice::new(bytes, LittleEndian))
    };
    let Ok(dwarf) = Dwarf::load(section);
    Context::from_dwarf(dwarf).ok()
}
