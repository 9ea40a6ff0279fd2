//! The page walk: what the processor would find in a tree of page tables, one address at a time ([`Paging::translate`])
//! or all of it ([`Paging::walk`]).
//!
//! Tables are data that a broken or hostile guest wrote. A walk never panics and never runs for ever: an entry that
//! leads nowhere is counted and left; a tree that contains itself, which can have 512⁴ leaves, is cut at a [`Budget`]
//! and the summary says so. A table page is read once for each place where it hangs in the tree, always whole.

use abi::{Frame, GuestPhys, GuestVirt};

use crate::memory::{PhysicalMemory, Table};
use crate::paging::{Entry, PageSize, Paging, ROOT_LEVEL, Rights, bits};

/// Which part of an address space to walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// Addresses below 2^47: the processes' half.
    User,
    /// Addresses from 2^64 - 2^47 on: the kernel's half.
    Kernel,
    /// All addresses.
    Both,
}

impl Half {
    const fn entries(self) -> std::ops::Range<usize> {
        match self {
            Self::User => 0..256,
            Self::Kernel => 256..512,
            Self::Both => 0..512,
        }
    }
}

/// How much work a walk may do before it is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Table pages read, the root included.
    pub tables: u64,
    /// Leaves reported.
    pub leaves: u64,
}

/// 65536 tables and 2^24 leaves: 64 GiB of 4 KiB pages, a second's work at most.
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
    pub frame: abi::Frame,
    /// How much is mapped.
    pub size: PageSize,
    /// What is allowed, all levels taken together.
    pub rights: Rights,
    /// Where the leaf entry is.
    pub entry: GuestPhys,
}

/// Why an entry maps nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is not in use. Walks do not count these.
    Absent,
    /// A reserved bit is set.
    Reserved,
    /// The table that it names is not in memory.
    TableOutside,
    /// The page that it maps does not start in memory.
    PageOutside,
    /// The root of the tree is not in memory.
    RootOutside,
    /// No entry is to blame: bits 63 to 47 of the address are not all equal.
    NotCanonical,
}

/// An entry that is in use and yet maps nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadEntry {
    /// The level of the table that holds it.
    pub level: u8,
    /// Where the entry is; the root itself for [`Why::RootOutside`].
    pub entry: GuestPhys,
    /// The entry's value.
    pub value: u64,
    /// The first address that it stands for.
    pub virt: GuestVirt,
    /// What is wrong with it.
    pub why: Why,
}

/// A walk was cut because its budget was spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated {
    /// The first address that was not looked at.
    pub at: GuestVirt,
}

/// What a walk met besides mappings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct WalkSummary {
    /// Table pages read, or tried.
    pub tables: u64,
    /// Leaves reported.
    pub leaves: u64,
    /// Entries that lead outside memory.
    pub holes: u64,
    /// Entries with a reserved bit set.
    pub reserved: u64,
    /// The first few of the holes and reserved entries, in rising order of address.
    pub described: Vec<BadEntry>,
    /// Set if the walk was cut.
    pub truncated: Option<Truncated>,
}

impl WalkSummary {
    /// Most entries described in one summary.
    pub const DESCRIBED: usize = 8;

    /// Whether all entries made sense and all were seen.
    pub const fn is_clean(&self) -> bool {
        self.holes == 0 && self.reserved == 0 && self.truncated.is_none()
    }

    fn note(&mut self, bad: BadEntry) {
        match bad.why {
            Why::Reserved => self.reserved += 1,
            _ => self.holes += 1,
        }
        if self.described.len() < Self::DESCRIBED {
            self.described.push(bad);
        }
    }
}

/// Where an address leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The physical address of the byte.
    pub phys: GuestPhys,
    /// The leaf that maps it.
    pub mapping: Mapping,
}

/// An address leads nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not mapped: level {level} entry at {entry}: {why:?}")]
pub struct NotMapped {
    /// The level of the table that holds the entry to blame.
    pub level: u8,
    /// Where that entry is; the root itself for [`Why::RootOutside`].
    pub entry: GuestPhys,
    /// What is wrong with it.
    pub why: Why,
}

/// A table of any level, as a walk came to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TablePage {
    /// The table.
    pub frame: Frame,
    /// The entry that leads to it; for a root, to which no entry leads, the table itself.
    pub entry: GuestPhys,
}

impl Paging {
    /// Visits every present leaf of a half of the address space at `root` (a CR3 value: its low 12 bits do not count),
    /// in rising order of address.
    pub fn walk<M, F>(
        self,
        mem: &M,
        root: GuestPhys,
        half: Half,
        budget: Budget,
        visit: &mut F,
    ) -> WalkSummary
    where
        M: PhysicalMemory + ?Sized,
        F: FnMut(Mapping),
    {
        Walk {
            paging: self,
            mem,
            budget,
            ring3: false,
            visit,
            table: &mut |_| (),
            summary: WalkSummary::default(),
        }
        .run(root, half)
    }

    /// As [`Self::walk`] over both halves, but visits only the leaves that ring 3 can use; whatever hangs behind an
    /// entry without the user bit is not even read.
    pub fn walk_ring3<M, F>(self, mem: &M, root: GuestPhys, budget: Budget, visit: &mut F) -> WalkSummary
    where
        M: PhysicalMemory + ?Sized,
        F: FnMut(Mapping),
    {
        self.walk_ring3_with_tables(mem, root, budget, visit, &mut |_| ())
    }

    /// As [`Self::walk_ring3`], and tells `table` of every table that is read, before its leaves.
    pub fn walk_ring3_with_tables<M, F, T>(
        self,
        mem: &M,
        root: GuestPhys,
        budget: Budget,
        visit: &mut F,
        table: &mut T,
    ) -> WalkSummary
    where
        M: PhysicalMemory + ?Sized,
        F: FnMut(Mapping),
        T: FnMut(TablePage),
    {
        Walk { paging: self, mem, budget, ring3: true, visit, table, summary: WalkSummary::default() }
            .run(root, Half::Both)
    }

    /// Follows one address through the tables at `root`, as the processor would.
    ///
    /// # Errors
    /// [`NotMapped`] with the entry to blame.
    pub fn translate<M>(self, mem: &M, root: GuestPhys, virt: GuestVirt) -> Result<Translation, NotMapped>
    where
        M: PhysicalMemory + ?Sized,
    {
        let mut table = GuestPhys(root.0 & bits::ADDRESS);
        if !matches!(virt.0 >> 47, 0 | 0x1_ffff) {
            return Err(NotMapped { level: ROOT_LEVEL, entry: table, why: Why::NotCanonical });
        }
        let mut rights = Rights::ALL;
        let mut blame = NotMapped { level: ROOT_LEVEL, entry: table, why: Why::RootOutside };
        let mut level = ROOT_LEVEL;
        loop {
            let entry = table.add((virt.0 >> shift(level) & 511) * 8);
            let value = mem.read_u64(entry).map_err(|_| blame)?;
            let refuse = |why| NotMapped { level, entry, why };
            rights = rights.through(value);
            match self.decode(value, level) {
                Entry::Absent => return Err(refuse(Why::Absent)),
                Entry::Reserved => return Err(refuse(Why::Reserved)),
                Entry::Table(next) => {
                    blame = refuse(Why::TableOutside);
                    table = next;
                    level -= 1;
                }
                Entry::Leaf(frame, _) if !mem.has_frame(frame) => return Err(refuse(Why::PageOutside)),
                Entry::Leaf(frame, size) => {
                    let within = virt.0 & (size.bytes() - 1);
                    let mapping = Mapping { virt: GuestVirt(virt.0 - within), frame, size, rights, entry };
                    return Ok(Translation { phys: frame.base().add(within), mapping });
                }
            }
        }
    }
}

/// The lowest address bit that a table of this level decides.
const fn shift(level: u8) -> u32 {
    12 + 9 * (level as u32 - 1)
}

/// A walk was cut; nothing more is to be visited.
struct Cut;

struct Walk<'a, M: ?Sized, F, T> {
    paging: Paging,
    mem: &'a M,
    budget: Budget,
    ring3: bool,
    visit: &'a mut F,
    table: &'a mut T,
    summary: WalkSummary,
}

impl<M: PhysicalMemory + ?Sized, F: FnMut(Mapping), T: FnMut(TablePage)> Walk<'_, M, F, T> {
    fn run(mut self, root: GuestPhys, half: Half) -> WalkSummary {
        // One page for each level, read over and over.
        let mut pages: [Table; ROOT_LEVEL as usize] = [[0; 512]; ROOT_LEVEL as usize];
        let root = GuestPhys(root.0 & bits::ADDRESS);
        let entries = half.entries();
        let virt = address(0, entries.start, ROOT_LEVEL);
        let origin = BadEntry { level: ROOT_LEVEL, entry: root, value: root.0, virt, why: Why::RootOutside };
        // A cut is recorded in the summary; there is nothing else to do about it.
        if let Ok(true) = self.load(&mut pages, root, origin) {
            let _: Result<(), Cut> = self.scan(&mut pages, ROOT_LEVEL, root, entries, 0, Rights::ALL);
        }
        self.summary
    }

    /// Reads the table at `at` into the first of `pages`; says whether there is one. `origin` is to blame if not.
    fn load(&mut self, pages: &mut [Table], at: GuestPhys, origin: BadEntry) -> Result<bool, Cut> {
        if self.summary.tables >= self.budget.tables {
            return Err(self.cut(origin.virt));
        }
        self.summary.tables += 1;
        let read = pages.first_mut().is_some_and(|page| self.mem.read_table(at, page).is_ok());
        if read {
            (self.table)(TablePage { frame: at.frame(), entry: origin.entry });
        } else {
            self.summary.note(origin);
        }
        Ok(read)
    }

    /// Goes through entries of the table in the first of `pages`, which came from `at` and stands for the addresses
    /// from `base` on.
    fn scan(
        &mut self,
        pages: &mut [Table],
        level: u8,
        at: GuestPhys,
        entries: std::ops::Range<usize>,
        base: u64,
        rights: Rights,
    ) -> Result<(), Cut> {
        let Some((table, below)) = pages.split_first_mut() else { return Ok(()) };
        let wanted = if self.ring3 { bits::PRESENT | bits::USER } else { bits::PRESENT };
        let first = entries.start;
        for (index, &value) in (first..).zip(&table[entries]) {
            if value & wanted != wanted {
                continue;
            }
            let virt = address(base, index, level);
            let entry = at.add(index as u64 * 8);
            let rights = rights.through(value);
            let bad = |why| BadEntry { level, entry, value, virt, why };
            match self.paging.decode(value, level) {
                Entry::Absent => {}
                Entry::Reserved => self.summary.note(bad(Why::Reserved)),
                Entry::Table(next) => {
                    if self.load(below, next, bad(Why::TableOutside))? {
                        self.scan(below, level - 1, next, 0..512, virt.0, rights)?;
                    }
                }
                Entry::Leaf(frame, _) if !self.mem.has_frame(frame) => {
                    self.summary.note(bad(Why::PageOutside));
                }
                Entry::Leaf(..) if self.summary.leaves >= self.budget.leaves => return Err(self.cut(virt)),
                Entry::Leaf(frame, size) => {
                    self.summary.leaves += 1;
                    (self.visit)(Mapping { virt, frame, size, rights, entry });
                }
            }
        }
        Ok(())
    }

    fn cut(&mut self, at: GuestVirt) -> Cut {
        self.summary.truncated = Some(Truncated { at });
        Cut
    }
}

/// The address that entry `index` of a table of this level stands for, within a table that stands for `base`. Bit 47 is
/// copied upwards: the upper half is the top of the 64-bit space.
const fn address(base: u64, index: usize, level: u8) -> GuestVirt {
    let low = base | (index as u64) << shift(level);
    GuestVirt(((low << 16) as i64 >> 16) as u64)
}
