//! The format of x86-64 page-table entries: their bits, what they point to, and what they allow.
//!
//! Sources: Intel SDM vol. 3, 4.5 (4-level and 5-level paging) and 4.6 (access rights); AMD APM vol. 2, 5.3
//! (long-mode page translation) and 5.6 (page protection). Levels are numbered as in the manuals: the root
//! has level 5 (PML5) or 4 (PML4), and the entries of level 1 map 4 KiB pages.

use address::{Frame, GuestPhys, GuestVirt, PAGE_SIZE};

/// Bits of an entry.
pub mod bits {
    /// The entry is in use. The processor ignores all other bits of an entry without it.
    pub const PRESENT: u64 = 1 << 0;
    /// Writes are allowed.
    pub const WRITE: u64 = 1 << 1;
    /// Ring 3 is allowed.
    pub const USER: u64 = 1 << 2;
    /// In an entry that maps a page: the page was written through this entry. Intel SDM vol. 3, 4.8.
    pub const DIRTY: u64 = 1 << 6;
    /// In tables of level 3 and 2: the entry maps a large page. Reserved at level 4; PAT at level 1.
    pub const LARGE: u64 = 1 << 7;
    /// Instruction fetches are not allowed; reserved while EFER.NXE is off.
    pub const NO_EXECUTE: u64 = 1 << 63;
    /// The address bits, for a processor with 52 physical address bits.
    pub const ADDRESS: u64 = (1 << 52) - (1 << 12);
}

/// A used entry of a table: the bits that a mapping depends on, and its index in bits 52 to 60, which the
/// processor ignores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UsedEntry(u64);

impl UsedEntry {
    /// The bits of an entry that a mapping depends on.
    pub const MEANING: u64 =
        bits::PRESENT | bits::WRITE | bits::USER | bits::LARGE | bits::ADDRESS | bits::NO_EXECUTE;
    const INDEX_SHIFT: u32 = 52;

    /// Creates an entry from its index (0 to 511) and its value.
    #[inline]
    pub const fn new(index: usize, value: u64) -> Self {
        Self(value & Self::MEANING | (index as u64) << Self::INDEX_SHIFT)
    }

    /// Returns its index in the table.
    #[inline]
    pub const fn index(self) -> u64 {
        self.0 >> Self::INDEX_SHIFT & 511
    }

    /// Returns the bits of its value that have a [meaning](Self::MEANING).
    #[inline]
    pub const fn value(self) -> u64 {
        self.0 & Self::MEANING
    }
}

/// Appends those entries of a table that have all of `wanted`, which includes the present bit.
pub fn used_of_table(table: &[u64; 512], wanted: u64, into: &mut Vec<UsedEntry>) {
    // Eight entries are a cache line, and most lines of most tables are empty: one test skips such a line.
    for (line, first) in table.as_chunks().0.iter().zip((0..).step_by(8)) {
        if line.iter().fold(0, |all, value| all | value) & bits::PRESENT != 0 {
            used_of_line(line, first, wanted, into);
        }
    }
}

/// Appends those of eight entries, the first of which has index `first`, that have all of `wanted`.
#[inline]
pub fn used_of_line(line: &[u64; 8], first: usize, wanted: u64, into: &mut Vec<UsedEntry>) {
    into.reserve(line.len());
    for (index, value) in (first..).zip(line) {
        if value & wanted == wanted {
            into.push(UsedEntry::new(index, *value));
        }
    }
}

/// The largest number of levels.
pub const MOST_LEVELS: u8 = 5;

/// What a mapping allows, all levels taken together: writing and ring 3 must be allowed at every level, and a
/// no-execute bit at any level forbids execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Rights {
    /// Writing is allowed. (Ring 0 may write anyway while CR0.WP is off.)
    pub write: bool,
    /// Ring 3 is allowed.
    pub user: bool,
    /// Fetching instructions is allowed.
    pub execute: bool,
}

impl Rights {
    /// Everything is allowed: the state at the start of a walk.
    pub const ALL: Self = Self { write: true, user: true, execute: true };

    /// Returns the rights that remain behind an entry with this value.
    #[must_use]
    pub const fn through(self, value: u64) -> Self {
        Self {
            write: self.write && value & bits::WRITE != 0,
            user: self.user && value & bits::USER != 0,
            execute: self.execute && value & bits::NO_EXECUTE == 0,
        }
    }
}

/// `rwxu` with `-` for what is not allowed; a mapping can always be read.
impl std::fmt::Display for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letter = |allowed, letter| if allowed { letter } else { '-' };
        write!(f, "r{}{}{}", letter(self.write, 'w'), letter(self.execute, 'x'), letter(self.user, 'u'))
    }
}

/// How much one leaf entry maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum PageSize {
    /// 4 KiB, from a table of level 1.
    Small,
    /// 2 MiB, from a table of level 2.
    Large,
    /// 1 GiB, from a table of level 3.
    Huge,
}

impl PageSize {
    /// Returns the size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Small => PAGE_SIZE,
            Self::Large => 2 << 20,
            Self::Huge => 1 << 30,
        }
    }

    /// Returns the number of 4 KiB frames.
    pub const fn frames(self) -> u64 {
        self.bytes() / PAGE_SIZE
    }
}

/// The decoded meaning of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing is mapped.
    Absent,
    /// A reserved bit is set: any access faults.
    Reserved,
    /// The address of the table of the next lower level.
    Table(GuestPhys),
    /// Memory is mapped, from this frame on.
    Leaf(Frame, PageSize),
}

/// The processor's settings that decide what a page-table entry means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paging {
    /// EFER.NXE is on: bit 63 forbids execution. While it is off, that bit is reserved and everything is
    /// executable.
    pub no_execute: bool,
    /// Physical address bits of the processor (CPUID leaf 0x8000_0008), at most 52. Higher address bits are
    /// reserved.
    pub physical_bits: u8,
    /// CR4.LA57 is on: five levels and 57 bits of virtual address; otherwise four levels and 48 bits.
    pub five_levels: bool,
}

/// EFER.NXE on, 52 bits of physical address, four levels.
impl Default for Paging {
    fn default() -> Self {
        Self { no_execute: true, physical_bits: 52, five_levels: false }
    }
}

impl Paging {
    /// Returns the root's level, which is also the number of levels.
    pub const fn root_level(self) -> u8 {
        if self.five_levels { 5 } else { 4 }
    }

    /// Returns the number of significant bits of a virtual address; the higher bits are copies of the highest
    /// of them.
    pub const fn virtual_bits(self) -> u32 {
        if self.five_levels { 57 } else { 48 }
    }

    /// Returns whether the address is canonical: its higher bits are copies of the highest significant bit.
    pub const fn is_canonical(self, virt: GuestVirt) -> bool {
        self.extend(virt.0).0 == virt.0
    }

    /// Returns the canonical address with these low bits.
    pub(crate) const fn extend(self, low: u64) -> GuestVirt {
        let unused = 64 - self.virtual_bits();
        GuestVirt(((low << unused) as i64 >> unused) as u64)
    }

    /// Decodes an entry of a table of level `level` (1 to [`Self::root_level`]).
    #[inline]
    pub const fn decode(self, value: u64, level: u8) -> Entry {
        if value & bits::PRESENT == 0 {
            return Entry::Absent;
        }
        let size = match level {
            1 => Some(PageSize::Small),
            2 if value & bits::LARGE != 0 => Some(PageSize::Large),
            3 if value & bits::LARGE != 0 => Some(PageSize::Huge),
            _ => None,
        };
        if value & self.reserved(level, size) != 0 {
            return Entry::Reserved;
        }
        match size {
            // Bit 12 of an entry for a large page is PAT, not part of the address.
            Some(size) => Entry::Leaf(GuestPhys(value & bits::ADDRESS & !(size.bytes() - 1)).frame(), size),
            None => Entry::Table(GuestPhys(value & bits::ADDRESS)),
        }
    }

    /// Returns the bits that must be zero.
    #[inline]
    const fn reserved(self, level: u8, size: Option<PageSize>) -> u64 {
        // Address bits from the processor's width up to 51.
        let mut mask = if self.physical_bits < 52 { (1 << 52) - (1 << self.physical_bits) } else { 0 };
        if !self.no_execute {
            mask |= bits::NO_EXECUTE;
        }
        match size {
            // Address bits below the page's size, from 13 on.
            Some(size) => mask | (size.bytes() - 1) & !0x1fff,
            None if level >= 4 => mask | bits::LARGE,
            None => mask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bits::{LARGE, NO_EXECUTE, PRESENT, USER, WRITE};

    const PAGING: Paging = Paging { no_execute: true, physical_bits: 40, five_levels: false };

    #[test]
    fn an_entry_without_the_present_bit_says_nothing() {
        for level in 1..=MOST_LEVELS {
            assert_eq!(PAGING.decode(!PRESENT, level), Entry::Absent);
        }
    }

    #[test]
    fn tables_and_leaves_are_told_apart_by_level_and_size_bit() {
        let small = PRESENT | 0x12_3000;
        assert_eq!(PAGING.decode(small, 4), Entry::Table(GuestPhys(0x12_3000)));
        assert_eq!(PAGING.decode(small, 2), Entry::Table(GuestPhys(0x12_3000)));
        assert_eq!(PAGING.decode(small, 1), Entry::Leaf(Frame(0x123), PageSize::Small));
        // At level 1 the bit is PAT.
        assert_eq!(PAGING.decode(small | LARGE, 1), Entry::Leaf(Frame(0x123), PageSize::Small));
        let large = PRESENT | LARGE | 0x4000_0000;
        assert_eq!(PAGING.decode(large, 2), Entry::Leaf(Frame(0x4_0000), PageSize::Large));
        assert_eq!(PAGING.decode(large, 3), Entry::Leaf(Frame(0x4_0000), PageSize::Huge));
        // The PAT bit of a large page is not part of its address.
        assert_eq!(PAGING.decode(large | 1 << 12, 3), Entry::Leaf(Frame(0x4_0000), PageSize::Huge));
    }

    #[test]
    fn reserved_bits_are_refused() {
        let reserved = |value, level| PAGING.decode(PRESENT | value, level) == Entry::Reserved;
        assert!(reserved(LARGE, 5) && reserved(LARGE, 4));
        assert!(
            reserved(LARGE | 1 << 13, 2) && reserved(LARGE | 1 << 20, 2) && !reserved(LARGE | 1 << 21, 2)
        );
        assert!(
            reserved(LARGE | 1 << 21, 3) && reserved(LARGE | 1 << 29, 3) && !reserved(LARGE | 1 << 30, 3)
        );
        assert!(
            !reserved(1 << 39, 1) && reserved(1 << 40, 1) && reserved(1 << 51, 1) && !reserved(1 << 52, 1)
        );
        assert!(!reserved(NO_EXECUTE, 1));
        let without = Paging { no_execute: false, ..PAGING };
        assert_eq!(without.decode(PRESENT | NO_EXECUTE, 1), Entry::Reserved);
    }

    #[test]
    fn an_address_is_canonical_if_its_upper_bits_agree() {
        let five = Paging { five_levels: true, ..PAGING };
        for (virt, of_four, of_five) in [
            (0, true, true),
            ((1 << 47) - 1, true, true),
            (1 << 47, false, true),
            ((1 << 56) - 1, false, true),
            (1 << 56, false, false),
            (0xff00_0000_0000_0000, false, true),
            (0xffff_8000_0000_0000, true, true),
            (1 << 63, false, false),
        ] {
            let virt = GuestVirt(virt);
            assert_eq!((PAGING.is_canonical(virt), five.is_canonical(virt)), (of_four, of_five), "{virt}");
        }
    }

    #[test]
    fn rights_need_every_level() {
        assert_eq!(Rights::ALL.through(PRESENT | WRITE | USER), Rights::ALL);
        let rights = Rights::ALL.through(WRITE).through(USER | WRITE).through(NO_EXECUTE | WRITE | USER);
        assert_eq!(rights, Rights { write: true, user: false, execute: false });
        assert_eq!(rights.to_string(), "rw--");
    }
}
