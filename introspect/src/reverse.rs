//! The reverse map: for each frame, who maps it, where, and with which rights. It is the question that page tables
//! cannot answer themselves, and the one that a leak is found by.
//!
//! It holds what ring 3 can use: leaves with the user bit at every level, in either half of the address space. The
//! kernel reaches all memory through its direct map anyway. Large pages are entered as the 4 KiB pages that they are
//! made of, as far as these are memory.
//!
//! One pass over the address spaces fills a plain vector, 24 bytes for each page; one sort puts the mappings of a frame
//! side by side. Work is bounded by a [`Budget`] for all spaces together, shared out so that one hostile address space
//! cannot keep the others from being looked at.

use abi::{Frame, GuestPhys, GuestVirt, Pid};

use crate::memory::PhysicalMemory;
use crate::paging::{PageSize, Paging, Rights};
use crate::space::Space;
use crate::walk::{Budget, Mapping, TablePage, Truncated, WalkSummary};

/// One 4 KiB page of one address space. Its order is by frame, then address space, then address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapped {
    /// Frame number (at most 40 bits) above the index of the space (24 bits).
    place: u64,
    /// Address of the page, and in its low bits what is allowed.
    page: u64,
    /// Address of the leaf entry.
    entry: u64,
}

const _: () = assert!(size_of::<Mapped>() == 24);

impl Mapped {
    const SPACE_BITS: u32 = 24;
    const WRITE: u64 = 1;
    const EXECUTE: u64 = 2;
    const PAGE: u64 = !0xfff;

    fn new(space: usize, mapping: &Mapping, nth: u64) -> Self {
        let offset = nth * PageSize::Small.bytes();
        let rights = if mapping.rights.write { Self::WRITE } else { 0 }
            | if mapping.rights.execute { Self::EXECUTE } else { 0 };
        Self {
            place: (mapping.frame.0 + nth) << Self::SPACE_BITS | space as u64,
            page: (mapping.virt.0 + offset) & Self::PAGE | rights,
            entry: mapping.entry.0,
        }
    }

    /// The frame that is mapped.
    pub const fn frame(self) -> Frame {
        Frame(self.place >> Self::SPACE_BITS)
    }

    /// The address space that maps it: an index into [`ReverseMap::spaces`].
    pub const fn space(self) -> usize {
        (self.place & ((1 << Self::SPACE_BITS) - 1)) as usize
    }

    /// The address of the page.
    pub const fn virt(self) -> GuestVirt {
        GuestVirt(self.page & Self::PAGE)
    }

    /// What is allowed.
    pub const fn rights(self) -> Rights {
        Rights { write: self.page & Self::WRITE != 0, user: true, execute: self.page & Self::EXECUTE != 0 }
    }

    /// Where the leaf entry is; all pages of a large page have the same.
    pub const fn entry(self) -> GuestPhys {
        GuestPhys(self.entry)
    }
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} in space {} at {} {} by entry {}",
            self.frame(),
            self.space(),
            self.virt(),
            self.rights(),
            self.entry()
        )
    }
}

/// An address space whose tables were not in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// Whose address space.
    pub space: Space,
    /// What the walk met.
    pub summary: WalkSummary,
}

/// Frame to mappings, over all address spaces.
#[derive(Clone, Debug, Default)]
pub struct ReverseMap {
    spaces: Vec<Space>,
    mapped: Vec<Mapped>,
    troubles: Vec<Trouble>,
    tables: Vec<(TablePage, u32)>,
}

impl ReverseMap {
    /// Most address spaces in one map; more are left out, and [`Self::is_complete`] says no.
    pub const MOST_SPACES: usize = 1 << Mapped::SPACE_BITS;

    /// 2^18 table pages and 2^22 pages: 1 GiB read and 100 MiB held, at most.
    pub const BUDGET: Budget = Budget { tables: 1 << 18, leaves: 1 << 22 };

    /// A map of these address spaces.
    pub fn build<M: PhysicalMemory + ?Sized>(
        mem: &M,
        paging: Paging,
        spaces: impl IntoIterator<Item = Space>,
        budget: Budget,
    ) -> Self {
        let mut map = Self::default();
        map.rebuild(mem, paging, spaces, budget);
        map
    }

    /// Fills the map anew, in the memory that it has. `budget` is for all spaces together; its leaves are 4 KiB pages.
    pub fn rebuild<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        paging: Paging,
        spaces: impl IntoIterator<Item = Space>,
        budget: Budget,
    ) {
        self.mapped.clear();
        self.troubles.clear();
        self.spaces.clear();
        self.spaces.extend(spaces.into_iter().take(Self::MOST_SPACES));
        self.tables.clear();
        // Large pages may reach beyond memory; finding out where it ends costs work too.
        let mut misses = budget.leaves;
        for (index, &space) in self.spaces.iter().enumerate() {
            // An equal share of what is left: what one space does not need the later ones have.
            let rest = (self.spaces.len() - index) as u64;
            let share = Budget {
                tables: (budget.tables - self.tables.len() as u64) / rest,
                leaves: (budget.leaves - self.mapped.len() as u64) / rest,
            };
            let full = self.mapped.len() as u64 + share.leaves;
            let mut cut = None;
            let mut enter = |mapping: Mapping| {
                for nth in 0..mapping.size.frames() {
                    let present = nth == 0 || mem.has_frame(Frame(mapping.frame.0 + nth));
                    if misses == 0 || present && self.mapped.len() as u64 >= full {
                        let at = mapping.virt.add(nth * PageSize::Small.bytes());
                        cut.get_or_insert(Truncated { at });
                        return;
                    }
                    if present {
                        self.mapped.push(Mapped::new(index, &mapping, nth));
                    } else {
                        misses -= 1;
                    }
                }
            };
            let mut table = |table| self.tables.push((table, index as u32));
            let mut summary = paging.walk_ring3_with_tables(mem, space.root, share, &mut enter, &mut table);
            summary.truncated = cut.or(summary.truncated);
            if !summary.is_clean() {
                self.troubles.push(Trouble { space, summary });
            }
        }
        self.mapped.sort_unstable();
    }

    /// The address spaces, in the order in which they were given.
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    /// All mappings, by frame, then address space, then address.
    pub fn mapped(&self) -> &[Mapped] {
        &self.mapped
    }

    /// Who has the address space of this mapping.
    pub fn pid(&self, mapped: Mapped) -> Pid {
        self.spaces.get(mapped.space()).map_or(Pid::NONE, |space| space.pid)
    }

    /// The mappings of one frame.
    pub fn of(&self, frame: Frame) -> &[Mapped] {
        let start = self.mapped.partition_point(|mapped| mapped.frame() < frame);
        let rest = &self.mapped[start..];
        &rest[..rest.partition_point(|mapped| mapped.frame() == frame)]
    }

    /// The mappings of each frame that is mapped at all, by rising frame.
    pub fn groups(&self) -> impl Iterator<Item = &[Mapped]> {
        self.mapped.chunk_by(|a, b| a.frame() == b.frame())
    }

    /// The mappings of each frame that is mapped more than once, by rising frame.
    pub fn shared(&self) -> impl Iterator<Item = &[Mapped]> {
        self.groups().filter(|group| group.len() > 1)
    }

    /// The address spaces whose tables lead astray or were too large.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// Whether every address space was seen to its end. If not, a frame may have more mappings than the map shows.
    pub fn is_complete(&self) -> bool {
        self.spaces.len() < Self::MOST_SPACES
            && self.troubles.iter().all(|trouble| trouble.summary.truncated.is_none())
    }

    /// Table pages read for this map.
    pub fn tables(&self) -> u64 {
        self.tables.len() as u64
    }

    /// Those tables, space by space, each with whose it is.
    pub fn table_pages(&self) -> impl Iterator<Item = (TablePage, Pid)> {
        let pid = |space: u32| self.spaces.get(space as usize).map_or(Pid::NONE, |space| space.pid);
        self.tables.iter().map(move |(table, space)| (*table, pid(*space)))
    }
}
