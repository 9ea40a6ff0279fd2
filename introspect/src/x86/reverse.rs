//! The reverse map: for each frame, the address spaces that map it, at which address, and with which rights.
//! Page tables alone do not answer this question; leaks are found by it.
//!
//! It holds what ring 3 can use: leaves with the user bit at every level, in either half of the address
//! space. The kernel reaches all memory through its direct map anyway; [`Reach::Everything`] includes that. A
//! large page is entered as its 4 KiB pages, as far as these are memory.
//!
//! The first pass over the address spaces lists the pages, 24 bytes each, in the order of spaces and
//! addresses, and counts the pages of each frame. The second places the pages of a frame side by side, in the
//! same order. Nothing is compared. A [`Budget`] for all spaces together bounds the work. It is shared out,
//! so that a hostile address space cannot use up the budget of the others.
//!
//! To keep a map up to date while the guest runs, use [`crate::x86::follow::Followed`].

use address::{Frame, GuestPhys, GuestVirt};

use crate::x86::frames::FrameMap;
use crate::x86::lists::{Lists, Span};
use crate::x86::memory::PhysicalMemory;
use crate::x86::paging::{PageSize, Paging, Rights};
use crate::x86::space::{Space, SpaceId};
use crate::x86::walk::{Budget, Half, Mapping, TablePage, Truncated, WalkSummary};

/// Which part of an address space goes into a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reach {
    /// The part that ring 3 can use. Tables behind an entry without the user bit are not read.
    #[default]
    Ring3,
    /// All of it, the kernel's half included.
    Everything,
}

/// One 4 KiB page of one address space. Its order is by frame, then address space, then address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mapped {
    /// Frame number (at most 40 bits) above the index of the space (24 bits).
    place: u64,
    /// Address of the page, with the rights in its low bits.
    page: u64,
    /// Address of the leaf entry.
    entry: u64,
}

const _: () = assert!(size_of::<Mapped>() == 24);

impl Mapped {
    const SPACE_BITS: u32 = 24;
    const WRITE: u64 = 1;
    const EXECUTE: u64 = 2;
    const USER: u64 = 4;
    const PAGE: u64 = !0xfff;

    #[inline]
    pub(crate) fn new(space: usize, mapping: &Mapping, nth: u64) -> Self {
        let offset = nth * PageSize::Small.bytes();
        let rights = if mapping.rights.write { Self::WRITE } else { 0 }
            | if mapping.rights.execute { Self::EXECUTE } else { 0 }
            | if mapping.rights.user { Self::USER } else { 0 };
        Self {
            place: (mapping.frame.0 + nth) << Self::SPACE_BITS | space as u64,
            page: (mapping.virt.0 + offset) & Self::PAGE | rights,
            entry: mapping.entry.0,
        }
    }

    /// Returns the frame that is mapped.
    #[inline]
    pub const fn frame(self) -> Frame {
        Frame(self.place >> Self::SPACE_BITS)
    }

    /// Returns the address space that maps it, as an index into [`ReverseMap::spaces`].
    pub const fn space(self) -> usize {
        (self.place & ((1 << Self::SPACE_BITS) - 1)) as usize
    }

    /// Returns the address of the page.
    pub const fn virt(self) -> GuestVirt {
        GuestVirt(self.page & Self::PAGE)
    }

    /// Returns the rights.
    pub const fn rights(self) -> Rights {
        Rights {
            write: self.page & Self::WRITE != 0,
            user: self.page & Self::USER != 0,
            execute: self.page & Self::EXECUTE != 0,
        }
    }

    /// Returns the same page of the space with this index.
    pub(crate) const fn of_space(self, space: usize) -> Self {
        Self { place: self.place >> Self::SPACE_BITS << Self::SPACE_BITS | space as u64, ..self }
    }

    /// Returns the address of the leaf entry; it is the same for all pages of a large page.
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

/// An address space whose tables were damaged or too large.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// The address space.
    pub space: Space,
    /// The summary of its walk.
    pub summary: WalkSummary,
}

/// Maps frames to mappings, over all address spaces.
#[derive(Clone, Debug, Default)]
pub struct ReverseMap {
    spaces: Vec<Space>,
    /// The list of each frame.
    groups: FrameMap<Span>,
    lists: Lists<Mapped>,
    len: usize,
    troubles: Vec<Trouble>,
    tables: Vec<(TablePage, u32)>,
    /// The pages in the order of the walk, while the map is built; kept to reuse its memory. The lists of
    /// their frames have room for them.
    walked: Vec<Mapped>,
}

impl ReverseMap {
    /// Largest number of address spaces in one map. Further ones are left out, and [`Self::is_complete`]
    /// returns false.
    pub const MOST_SPACES: usize = 1 << Mapped::SPACE_BITS;

    /// 2^18 table pages and 2^22 pages: at most 1 GiB is read and 200 MiB are held.
    pub const BUDGET: Budget = Budget { tables: 1 << 18, leaves: 1 << 22 };

    /// Builds a map of what ring 3 can use in these address spaces.
    pub fn build<M: PhysicalMemory + ?Sized>(
        mem: &M,
        paging: Paging,
        spaces: impl IntoIterator<Item = Space>,
        budget: Budget,
    ) -> Self {
        Self::build_reach(mem, paging, spaces, budget, Reach::Ring3)
    }

    /// Builds a map of the given part of these address spaces.
    pub fn build_reach<M: PhysicalMemory + ?Sized>(
        mem: &M,
        paging: Paging,
        spaces: impl IntoIterator<Item = Space>,
        budget: Budget,
        reach: Reach,
    ) -> Self {
        let mut map = Self::default();
        map.rebuild_reach(mem, paging, spaces, budget, reach);
        map.walked = Vec::new();
        map
    }

    /// Rebuilds the map of what ring 3 can use, and reuses its memory. `budget` is for all spaces together;
    /// its leaves are 4 KiB pages.
    pub fn rebuild<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        paging: Paging,
        spaces: impl IntoIterator<Item = Space>,
        budget: Budget,
    ) {
        self.rebuild_reach(mem, paging, spaces, budget, Reach::Ring3);
    }

    fn rebuild_reach<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        paging: Paging,
        spaces: impl IntoIterator<Item = Space>,
        budget: Budget,
        reach: Reach,
    ) {
        self.begin(spaces);
        let mut left = Left::new(budget);
        let Self { spaces, walked, tables, troubles, groups, .. } = self;
        for (index, &space) in spaces.iter().enumerate() {
            let share = left.share(spaces.len() - index);
            let before = walked.len() as u64;
            let mut cut = None;
            let mut visit = |mapping: Mapping| {
                for nth in 0..mapping.size.frames() {
                    let present = nth == 0 || mem.has_frame(Frame(mapping.frame.0 + nth));
                    if left.misses == 0 || present && walked.len() as u64 - before >= share.leaves {
                        let at = mapping.virt.add(nth * PageSize::Small.bytes());
                        cut.get_or_insert(Truncated { at, cycle: None });
                        return;
                    }
                    if present {
                        list(walked, groups, Mapped::new(index, &mapping, nth));
                    } else {
                        left.misses -= 1;
                    }
                }
            };
            let mut table = |table| tables.push((table, index as u32));
            let mut summary = match reach {
                Reach::Ring3 => paging.walk_ring3_with_tables(mem, space.root, share, &mut visit, &mut table),
                Reach::Everything => paging.walk(mem, space.root, Half::Both, share, &mut visit),
            };
            left.take(summary.tables, walked.len() as u64 - before);
            summary.truncated = cut.or(summary.truncated);
            if !summary.is_clean() {
                troubles.push(Trouble { space, summary });
            }
        }
        self.finish();
    }

    /// Starts over with these spaces.
    pub(crate) fn begin(&mut self, spaces: impl IntoIterator<Item = Space>) {
        self.walked.clear();
        self.troubles.clear();
        self.groups.reset();
        self.spaces.clear();
        self.spaces.extend(spaces.into_iter().take(Self::MOST_SPACES));
        self.tables.clear();
    }

    /// Lists a page. Pages of the same frame must come in order.
    #[inline]
    pub(crate) fn enter(&mut self, mapped: Mapped) {
        list(&mut self.walked, &mut self.groups, mapped);
    }

    /// Notes a table that the map is built from.
    pub(crate) fn enter_table(&mut self, table: TablePage, space: usize) {
        self.tables.push((table, space as u32));
    }

    /// Moves the listed pages to the lists of their frames, in their order.
    pub(crate) fn finish(&mut self) {
        let Self { groups, lists, walked, .. } = self;
        self.len = walked.len();
        let (items, mut end) = (lists.begin(walked.len()), 0);
        for mapped in walked.iter() {
            items[groups.get_mut(mapped.frame()).take_place(&mut end)] = *mapped;
        }
    }

    /// Inserts a page in order. Out of line, so that the hot path [`Self::enter`] stays small.
    #[inline(never)]
    pub(crate) fn insert(&mut self, mapped: Mapped) {
        let span = self.groups.get_mut(mapped.frame());
        let at = self.lists.get(*span).partition_point(|other| *other < mapped);
        self.lists.insert_item(span, at, mapped);
        self.len += 1;
    }

    /// Removes a page; returns whether it was there.
    pub(crate) fn remove(&mut self, mapped: Mapped) -> bool {
        let span = self.groups.get_mut(mapped.frame());
        let Ok(at) = self.lists.get(*span).binary_search(&mapped) else { return false };
        self.lists.remove_item(span, at);
        self.len -= 1;
        true
    }

    /// Replaces the address spaces. `index` maps an old index to the new one and keeps the order. Spaces that
    /// are gone must have no pages in the map.
    pub(crate) fn renumber(&mut self, spaces: &[Space], index: impl Fn(usize) -> usize) {
        self.spaces.clear();
        self.spaces.extend_from_slice(spaces);
        for mapped in self.lists.items_mut() {
            *mapped = mapped.of_space(index(mapped.space()));
        }
    }

    /// Removes the tables; the caller notes them again.
    pub(crate) fn forget_tables(&mut self) {
        self.tables.clear();
    }

    /// Returns whether changes have left so much unused memory that a rebuild pays.
    pub(crate) fn is_worn(&self) -> bool {
        self.lists.is_worn()
    }

    /// Returns the address spaces, in the order in which they were given.
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    /// Returns all mappings, by frame, then address space, then address.
    pub fn mapped(&self) -> impl Iterator<Item = &Mapped> {
        self.groups().flatten()
    }

    /// Returns the number of mappings.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether nothing is mapped.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the address space of a mapping.
    #[inline]
    pub fn id(&self, mapped: Mapped) -> SpaceId {
        self.spaces.get(mapped.space()).map_or(SpaceId::default(), |space| space.id)
    }

    /// Returns the mappings of one frame.
    pub fn of(&self, frame: Frame) -> &[Mapped] {
        self.lists.get(self.groups.get(frame))
    }

    /// Returns the mappings of each mapped frame, by rising frame.
    pub fn groups(&self) -> impl Iterator<Item = &[Mapped]> {
        self.groups.values().filter(|span| !span.is_empty()).map(|span| self.lists.get(span))
    }

    /// Returns the mappings of each frame that is mapped more than once, by rising frame.
    pub fn shared(&self) -> impl Iterator<Item = &[Mapped]> {
        self.groups().filter(|group| group.len() > 1)
    }

    /// Returns the address spaces whose tables were damaged or too large.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// Returns whether every address space was read to its end. If not, a frame may have more mappings than
    /// the map shows.
    pub fn is_complete(&self) -> bool {
        self.spaces.len() < Self::MOST_SPACES
            && self.troubles.iter().all(|trouble| trouble.summary.truncated.is_none())
    }

    /// Returns the number of table pages that the map was built from; a table counts once for each place in a
    /// tree.
    pub fn tables(&self) -> u64 {
        self.tables.len() as u64
    }

    /// Returns these tables, space by space, each with its address space. Only a map of [`Reach::Ring3`] has
    /// them.
    pub fn table_pages(&self) -> impl Iterator<Item = (TablePage, SpaceId)> {
        let id = |space: u32| self.spaces.get(space as usize).map_or(SpaceId::default(), |space| space.id);
        self.tables.iter().map(move |(table, space)| (*table, id(*space)))
    }
}

/// Lists a page and counts it for its frame.
#[inline]
fn list(walked: &mut Vec<Mapped>, groups: &mut FrameMap<Span>, mapped: Mapped) {
    groups.get_mut(mapped.frame()).count();
    walked.push(mapped);
}

/// The remainder of a budget for all spaces together.
pub(crate) struct Left {
    tables: u64,
    leaves: u64,
    /// Large pages may reach beyond memory; the search for its end counts as work too.
    pub(crate) misses: u64,
}

impl Left {
    pub(crate) fn new(budget: Budget) -> Self {
        let leaves = budget.leaves.min(Lists::<Mapped>::MOST);
        Self { tables: budget.tables, leaves, misses: leaves }
    }

    /// Returns an equal share for each of the remaining spaces. Later spaces get what earlier ones do not
    /// need.
    pub(crate) fn share(&self, spaces: usize) -> Budget {
        Budget { tables: self.tables / spaces as u64, leaves: self.leaves / spaces as u64 }
    }

    pub(crate) fn take(&mut self, tables: u64, leaves: u64) {
        self.tables -= tables;
        self.leaves -= leaves;
    }
}
