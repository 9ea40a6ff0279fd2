//! The page walk: what the processor would find in a tree of page tables, one address at a time ([`Paging::translate`])
//! or all of it ([`Paging::walk`], and as an iterator [`Paging::mappings`]).
//!
//! Tables are data that a broken or hostile guest wrote. A walk never panics and never runs for ever: an entry that
//! leads nowhere is counted and left; a tree that is too large is cut at a [`Budget`]. A table page is read once for each
//! place where it hangs in the tree, always whole.
//!
//! A tree may contain itself. Some kernels do that on purpose: one entry of the root names the root, and the page tables
//! appear as pages ([`WalkSummary::self_map`]). The processor follows such an entry, and so does a walk; it notes the
//! entry as a [`Cycle`]. A root that names itself 512 times has 512⁴ leaves: its walk ends at the budget, and
//! [`Truncated::cycle`] says that a cycle is the reason, and which.

mod mappings;

use abi::{Frame, GuestPhys, GuestVirt};

pub use mappings::Mappings;

use crate::memory::{PhysicalMemory, Table};
use crate::paging::{Entry, MOST_LEVELS, PageSize, Paging, Rights, bits};

/// Which part of an address space to walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// The lower addresses, those with bit 63 clear: the processes' half.
    User,
    /// The upper addresses: the kernel's half.
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
    /// No entry is to blame: the address's bits from 47 up (56, with five levels) are not all equal.
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

/// An entry that names a table which stands above it on the way from the root: the tree contains itself there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cycle {
    /// The level of the table that holds the entry.
    pub level: u8,
    /// Where the entry is.
    pub entry: GuestPhys,
    /// The first address that it stands for.
    pub virt: GuestVirt,
    /// The table that it names.
    pub table: GuestPhys,
    /// The level at which that table stands already.
    pub above: u8,
    /// Whether ring 3 gets through, and so at page tables.
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

/// A walk was cut because its budget was spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated {
    /// The first address that was not looked at.
    pub at: GuestVirt,
    /// The cycle behind which it happened, if so: no budget would have been enough, or none that makes sense.
    pub cycle: Option<Cycle>,
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
    /// Entries that lead back to a table above them, those not counted that are behind another one.
    pub cycles: u64,
    /// The first few of these, in rising order of address.
    pub described_cycles: Vec<Cycle>,
    /// Set if the walk was cut.
    pub truncated: Option<Truncated>,
}

impl WalkSummary {
    /// Most entries described in one summary.
    pub const DESCRIBED: usize = 8;

    /// Whether all entries made sense and all were seen. A self-map makes sense.
    pub fn is_clean(&self) -> bool {
        let cycles = self.cycles == 0 || self.self_map().is_some();
        self.holes == 0 && self.reserved == 0 && cycles && self.truncated.is_none()
    }

    /// The one cycle that some kernels have on purpose: a single entry of the root, closed to ring 3, names the root.
    pub fn self_map(&self) -> Option<Cycle> {
        let [cycle] = self.described_cycles[..] else { return None };
        (cycle.entry.frame() == cycle.table.frame() && cycle.level == cycle.above && !cycle.user)
            .then_some(cycle)
    }

    fn note_cycle(&mut self, cycle: Cycle) {
        self.cycles += 1;
        if self.described_cycles.len() < Self::DESCRIBED {
            self.described_cycles.push(cycle);
        }
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
        Walk::new(self, mem, budget, (visit, &mut |_| ())).run(root, half, false)
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
        Walk::new(self, mem, budget, (visit, table)).run(root, Half::Both, true)
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
        let mut level = self.root_level();
        if !self.is_canonical(virt) {
            return Err(NotMapped { level, entry: table, why: Why::NotCanonical });
        }
        let mut rights = Rights::ALL;
        let mut blame = NotMapped { level, entry: table, why: Why::RootOutside };
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
pub(crate) const fn shift(level: u8) -> u32 {
    12 + 9 * (level as u32 - 1)
}

/// A walk was cut; nothing more is to be visited.
struct Cut;

/// A table in the tree: where it is, and for what it stands there.
#[derive(Clone, Copy, Debug)]
struct Place {
    level: u8,
    at: GuestPhys,
    /// The first address that it stands for.
    base: GuestVirt,
    /// What the entries above it allow.
    rights: Rights,
}

struct Walk<'a, M: ?Sized, F, T> {
    paging: Paging,
    mem: &'a M,
    budget: Budget,
    ring3: bool,
    visit: &'a mut F,
    table: &'a mut T,
    summary: WalkSummary,
    /// The tables on the way from the root, by level.
    way: [GuestPhys; MOST_LEVELS as usize + 1],
    /// The first entry on that way that closes a cycle.
    cycle: Option<Cycle>,
}

impl<'a, M, F, T> Walk<'a, M, F, T>
where
    M: PhysicalMemory + ?Sized,
    F: FnMut(Mapping),
    T: FnMut(TablePage),
{
    fn new(paging: Paging, mem: &'a M, budget: Budget, (visit, table): (&'a mut F, &'a mut T)) -> Self {
        let way = [GuestPhys(0); MOST_LEVELS as usize + 1];
        let summary = WalkSummary::default();
        Self { paging, mem, budget, ring3: false, visit, table, summary, way, cycle: None }
    }

    fn run(mut self, root: GuestPhys, half: Half, ring3: bool) -> WalkSummary {
        self.ring3 = ring3;
        // For memory that cannot be looked at in place: one page for each level.
        let mut pages: [Table; MOST_LEVELS as usize] = [[0; 512]; MOST_LEVELS as usize];
        let (level, at) = (self.paging.root_level(), GuestPhys(root.0 & bits::ADDRESS));
        let entries = half.entries();
        let base = self.paging.extend((entries.start as u64) << shift(level));
        let origin = BadEntry { level, entry: at, value: at.0, virt: base, why: Why::RootOutside };
        let place = Place { level, at, base: GuestVirt(0), rights: Rights::ALL };
        // A cut is recorded in the summary; there is nothing else to do about it.
        let _: Result<(), Cut> = self.follow(&mut pages, place, entries, origin);
        self.summary
    }

    /// Goes through entries of a table. `origin` is to blame if there is none; `pages` has one page for each level from
    /// this one down.
    fn follow(
        &mut self,
        pages: &mut [Table],
        place: Place,
        entries: std::ops::Range<usize>,
        origin: BadEntry,
    ) -> Result<(), Cut> {
        let Some((page, below)) = pages.split_first_mut() else { return Ok(()) };
        if self.summary.tables >= self.budget.tables {
            return Err(self.cut(origin.virt));
        }
        self.summary.tables += 1;
        let Ok(table) = self.mem.table(place.at, page) else {
            self.summary.note(origin);
            return Ok(());
        };
        (self.table)(TablePage { frame: place.at.frame(), entry: origin.entry });
        self.way[usize::from(place.level)] = place.at;
        let wanted = if self.ring3 { bits::PRESENT | bits::USER } else { bits::PRESENT };
        for (line, first) in table[entries.clone()].chunks_exact(8).zip(entries.step_by(8)) {
            // Most of most tables is empty: eight entries are one cache line, and one test.
            if line.iter().fold(0, |all, value| all | value) & bits::PRESENT == 0 {
                continue;
            }
            for (index, &value) in (first..).zip(line) {
                if value & wanted == wanted {
                    self.entry(below, place, index, value)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at a used entry.
    #[inline(always)]
    fn entry(&mut self, below: &mut [Table], table: Place, index: usize, value: u64) -> Result<(), Cut> {
        let level = table.level;
        let virt = self.paging.extend(table.base.0 | (index as u64) << shift(level));
        let entry = table.at.add(index as u64 * 8);
        let rights = table.rights.through(value);
        let bad = |why| BadEntry { level, entry, value, virt, why };
        match self.paging.decode(value, level) {
            Entry::Absent => {}
            Entry::Reserved => self.summary.note(bad(Why::Reserved)),
            Entry::Table(at) => {
                let before = self.cycle;
                if before.is_none() {
                    self.look_back(level, entry, virt, at, rights.user);
                }
                let place = Place { level: level - 1, at, base: virt, rights };
                self.follow(below, place, 0..512, bad(Why::TableOutside))?;
                self.cycle = before;
            }
            Entry::Leaf(frame, _) if !self.mem.has_frame(frame) => self.summary.note(bad(Why::PageOutside)),
            Entry::Leaf(..) if self.summary.leaves >= self.budget.leaves => return Err(self.cut(virt)),
            Entry::Leaf(frame, size) => {
                self.summary.leaves += 1;
                (self.visit)(Mapping { virt, frame, size, rights, entry });
            }
        }
        Ok(())
    }

    /// Notes a cycle if the table at `table`, which this entry names, is on the way to it.
    fn look_back(&mut self, level: u8, entry: GuestPhys, virt: GuestVirt, table: GuestPhys, user: bool) {
        let mut above = level..=self.paging.root_level();
        if let Some(above) = above.find(|above| self.way[usize::from(*above)] == table) {
            let cycle = Cycle { level, entry, virt, table, above, user };
            self.summary.note_cycle(cycle);
            self.cycle = Some(cycle);
        }
    }

    fn cut(&mut self, at: GuestVirt) -> Cut {
        self.summary.truncated = Some(Truncated { at, cycle: self.cycle });
        Cut
    }
}
