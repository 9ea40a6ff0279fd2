//! Parameters and results of walks.

use address::{Frame, GuestPhys, GuestVirt};

use crate::x86::paging::{PageSize, Rights};

/// Which part of an address space to walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// The lower addresses, with bit 63 clear: the half of processes.
    User,
    /// The upper addresses: the kernel's half.
    Kernel,
    /// All addresses.
    Both,
}

impl Half {
    pub(super) const fn entries(self) -> std::ops::Range<usize> {
        match self {
            Self::User => 0..256,
            Self::Kernel => 256..512,
            Self::Both => 0..512,
        }
    }
}

/// The amount of work after which a walk is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Table pages read, the root included.
    pub tables: u64,
    /// Leaves reported.
    pub leaves: u64,
}

/// 65536 tables and 2^24 leaves: 64 GiB of 4 KiB pages, at most a second of work.
impl Default for Budget {
    fn default() -> Self {
        Self { tables: 1 << 16, leaves: 1 << 24 }
    }
}

/// One present leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The first address mapped.
    pub virt: GuestVirt,
    /// The first frame that it is mapped to.
    pub frame: address::Frame,
    /// The size of the page.
    pub size: PageSize,
    /// The rights, all levels taken together.
    pub rights: Rights,
    /// The address of the leaf entry.
    pub entry: GuestPhys,
}

/// Why an entry maps nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The entry is not in use. Walks do not count these.
    Absent,
    /// A reserved bit is set.
    Reserved,
    /// The table that it names is not in memory.
    TableOutside,
    /// The page that it maps does not start in memory.
    PageOutside,
    /// The root of the tree is not in memory.
    RootOutside,
    /// The address is at fault, not an entry: its bits from 47 up (56, with five levels) are not all equal.
    NotCanonical,
}

/// An entry that is in use but maps nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadEntry {
    /// The level of the table that holds it.
    pub level: u8,
    /// The address of the entry; the root itself for [`Why::RootOutside`].
    pub entry: GuestPhys,
    /// The entry's value.
    pub value: u64,
    /// The first address that it stands for.
    pub virt: GuestVirt,
    /// What is wrong with it.
    pub why: Why,
}

/// An entry that names a table above it on the path from the root: the tree contains itself there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cycle {
    /// The level of the table that holds the entry.
    pub level: u8,
    /// The address of the entry.
    pub entry: GuestPhys,
    /// The first address that it stands for.
    pub virt: GuestVirt,
    /// The table that it names.
    pub table: GuestPhys,
    /// The level at which that table occurs above.
    pub above: u8,
    /// Whether ring 3 can pass, and so reach page tables.
    pub user: bool,
}

impl std::fmt::Display for Cycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { level, entry, virt, table, above, .. } = self;
        write!(
            f,
            "the level {level} entry at {entry}, for {virt} and on, names the table at {table} again, "
        )?;
        write!(f, "which is the level {above} table above it")
    }
}

/// A walk was cut because its budget was used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated {
    /// The first address that was not visited.
    pub at: GuestVirt,
    /// The cycle inside which the walk was cut, if there is one: no sensible budget would have sufficed.
    pub cycle: Option<Cycle>,
}

/// What a walk found besides mappings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct WalkSummary {
    /// Table pages read or attempted.
    pub tables: u64,
    /// Leaves reported.
    pub leaves: u64,
    /// Entries that lead outside memory.
    pub holes: u64,
    /// Entries with a reserved bit set.
    pub reserved: u64,
    /// The first few of the holes and reserved entries, in rising order of address.
    pub described: Vec<BadEntry>,
    /// Entries that lead back to a table above them, except those behind another such entry.
    pub cycles: u64,
    /// The first few of these, in rising order of address.
    pub described_cycles: Vec<Cycle>,
    /// Set if the walk was cut.
    pub truncated: Option<Truncated>,
}

impl WalkSummary {
    /// Largest number of entries described in one summary.
    pub const DESCRIBED: usize = 8;

    /// Returns whether all entries were sound and visited. A self-map is sound.
    pub fn is_clean(&self) -> bool {
        let cycles = self.cycles == 0 || self.self_map().is_some();
        self.holes == 0 && self.reserved == 0 && cycles && self.truncated.is_none()
    }

    /// Returns the one cycle that some kernels have on purpose: a single entry of the root, closed to ring 3,
    /// that names the root.
    pub fn self_map(&self) -> Option<Cycle> {
        let [cycle] = self.described_cycles[..] else { return None };
        (cycle.entry.frame() == cycle.table.frame() && cycle.level == cycle.above && !cycle.user)
            .then_some(cycle)
    }

    pub(super) fn note_cycle(&mut self, cycle: Cycle) {
        self.cycles += 1;
        if self.described_cycles.len() < Self::DESCRIBED {
            self.described_cycles.push(cycle);
        }
    }

    pub(super) fn note(&mut self, bad: BadEntry) {
        match bad.why {
            Why::Reserved => self.reserved += 1,
            _ => self.holes += 1,
        }
        if self.described.len() < Self::DESCRIBED {
            self.described.push(bad);
        }
    }
}

/// The result of a translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The physical address of the byte.
    pub phys: GuestPhys,
    /// The leaf that maps it.
    pub mapping: Mapping,
}

/// An address is not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not mapped: level {level} entry at {entry}: {why:?}")]
pub struct NotMapped {
    /// The level of the table that holds the failing entry.
    pub level: u8,
    /// The address of that entry; the root itself for [`Why::RootOutside`].
    pub entry: GuestPhys,
    /// What is wrong with it.
    pub why: Why,
}

/// A table of any level, as a walk reached it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TablePage {
    /// The table.
    pub frame: Frame,
    /// The entry that leads to it; for a root, the table itself.
    pub entry: GuestPhys,
}

/// Returns the lowest address bit that selects an entry of a table of this level.
pub(crate) const fn shift(level: u8) -> u32 {
    12 + 9 * (level as u32 - 1)
}

/// The walk was cut and must visit nothing more.
pub(super) struct Cut;

/// A table in the tree: its address, and the range that it covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) level: u8,
    pub(super) at: GuestPhys,
    /// The first address that it covers.
    pub(super) base: GuestVirt,
    /// The rights that the entries above it leave.
    pub(super) rights: Rights,
}
