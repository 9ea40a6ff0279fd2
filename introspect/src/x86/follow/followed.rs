//! The map, its state, and its update.

use address::Frame;

use super::node::{First, NO_NODE, Node, NodeId};
use crate::x86::changed::Changed;
use crate::x86::frames::FrameMap;
use crate::x86::lists::{Lists, Span};
use crate::x86::memory::{PhysicalMemory, Table};
use crate::x86::paging::{Paging, UsedEntry, bits};
use crate::x86::reverse::{Left, ReverseMap};
use crate::x86::space::Space;
use crate::x86::walk::Budget;

/// How many consecutive address spaces may vanish before those behind them are taken for new ones.
const LOOK_AHEAD: usize = 256;

/// The cost of one address space.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) tables: u64,
    pub(super) pages: u64,
    /// Parts of large pages that are not memory.
    pub(super) misses: u64,
}

/// The tables are damaged or too many: the map must be rebuilt.
pub(super) struct Disorder;

/// The frames whose mappings have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touched<'a> {
    /// The map was rebuilt: any frame may have changed.
    Everything,
    /// These frames, by rising number.
    Frames(&'a [Frame]),
}

/// A reverse map of what ring 3 can use, kept up to date.
#[derive(Clone, Debug)]
pub struct Followed {
    pub(super) paging: Paging,
    pub(super) budget: Budget,
    pub(super) map: ReverseMap,
    /// The nodes below are those that the map was built from.
    pub(super) in_order: bool,
    pub(super) nodes: Vec<Node>,
    pub(super) free: Vec<NodeId>,
    /// The first node of each table.
    pub(super) tables: FrameMap<First>,
    pub(super) entries: Lists<UsedEntry>,
    pub(super) children: Lists<NodeId>,
    /// Root and cost of each address space, and the sum of what they cost.
    pub(super) roots: Vec<(NodeId, Cost)>,
    pub(super) total: Cost,
    /// The map takes single pages, instead of all in order.
    pub(super) live: bool,
    pub(super) touched: Vec<Frame>,
    pub(super) touched_tables: bool,
    pub(super) touched_all: bool,
    /// Tables read and pages visited in this update: beyond a bound the update gives up and the map is
    /// rebuilt.
    pub(super) read: u64,
    pub(super) work: u64,
    /// Kept to reuse its memory.
    pub(super) scratch: Option<Box<Scratch>>,
}

#[derive(Clone, Debug)]
pub(super) struct Scratch {
    pub(super) page: Table,
    pub(super) fresh: Vec<UsedEntry>,
    pub(super) pending: Vec<NodeId>,
    pub(super) work: Work,
}

/// The changes of a table: entries as they were and as they are; then all tables below it, and those of them
/// that the changed entries lead to.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    pub(super) was: Vec<UsedEntry>,
    pub(super) is: Vec<UsedEntry>,
    pub(super) below: Vec<NodeId>,
    pub(super) between: Vec<NodeId>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { page: [0; 512], fresh: Vec::new(), pending: Vec::new(), work: Work::default() }
    }
}

impl Followed {
    /// Creates an empty map.
    pub fn new(paging: Paging, budget: Budget) -> Self {
        Self {
            paging,
            budget,
            map: ReverseMap::default(),
            in_order: false,
            nodes: Vec::new(),
            free: Vec::new(),
            tables: FrameMap::default(),
            entries: Lists::default(),
            children: Lists::default(),
            roots: Vec::new(),
            total: Cost::default(),
            live: false,
            touched: Vec::new(),
            touched_tables: true,
            touched_all: true,
            read: 0,
            work: 0,
            scratch: None,
        }
    }

    /// Returns the map as of the last update.
    pub const fn map(&self) -> &ReverseMap {
        &self.map
    }

    /// Returns the frames whose mappings the last update changed.
    pub fn touched(&self) -> Touched<'_> {
        if self.touched_all { Touched::Everything } else { Touched::Frames(&self.touched) }
    }

    /// Returns whether the last update changed the set of tables.
    pub const fn touched_tables(&self) -> bool {
        self.touched_tables
    }

    /// Returns the number of table pages that the last update read.
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// Makes the next update rebuild the map.
    pub const fn forget(&mut self) {
        self.in_order = false;
    }

    /// Brings the map up to date. `spaces` are the current address spaces; no frame outside `changed` was
    /// written since the last update.
    pub fn update<M: PhysicalMemory + ?Sized>(&mut self, mem: &M, spaces: &[Space], changed: &Changed) {
        let spaces = &spaces[..spaces.len().min(ReverseMap::MOST_SPACES)];
        self.touched.clear();
        (self.touched_all, self.touched_tables) = (false, false);
        (self.read, self.work) = (0, 0);
        let mut scratch = self.scratch.take().unwrap_or_default();
        let worn = self.map.is_worn() || self.entries.is_worn() || self.children.is_worn();
        if !self.in_order || worn || self.follow(mem, spaces, changed, &mut scratch).is_err() {
            self.begin_anew(mem, spaces, &mut scratch);
        }
        self.scratch = Some(scratch);
        self.touched.sort_unstable();
        self.touched.dedup();
    }

    /// Reads all tables, and keeps their trees if they are sound.
    fn begin_anew<M: PhysicalMemory + ?Sized>(&mut self, mem: &M, spaces: &[Space], scratch: &mut Scratch) {
        self.touched.clear();
        (self.touched_all, self.touched_tables) = (true, true);
        (self.read, self.work) = (0, 0);
        self.nodes.clear();
        self.free.clear();
        self.tables.reset();
        self.entries.clear();
        self.children.clear();
        self.roots.clear();
        self.total = Cost::default();
        self.live = false;
        self.map.begin(spaces.iter().copied());
        let planted = spaces.iter().try_for_each(|space| self.plant_space(mem, scratch, space));
        self.in_order = planted.is_ok() && self.is_within_budget();
        if self.in_order {
            self.map.finish();
        } else {
            self.map.rebuild(mem, self.paging, spaces.iter().copied(), self.budget);
            self.read += self.map.tables();
        }
    }

    /// Reads what changed. After an error the trees are unusable.
    fn follow<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        spaces: &[Space],
        changed: &Changed,
        scratch: &mut Scratch,
    ) -> Result<(), Disorder> {
        self.live = true;
        if spaces != self.map.spaces() {
            self.change_spaces(mem, spaces, scratch)?;
        }
        let mut pending = std::mem::take(&mut scratch.pending);
        pending.clear();
        if changed.is_everything() {
            pending.extend((0..self.nodes.len() as NodeId).filter(|node| self.is_alive(*node)));
        } else {
            for frame in changed.frames() {
                let First(mut node) = self.tables.get(frame);
                while node != NO_NODE {
                    pending.push(node);
                    node = self.nodes[node as usize].after;
                }
            }
        }
        // A node may have been removed meanwhile; reading it again is harmless.
        let mut work = std::mem::take(&mut scratch.work);
        let read = pending.iter().try_for_each(|node| self.read_again(mem, scratch, &mut work, *node));
        (scratch.pending, scratch.work) = (pending, work);
        read?;
        if !self.is_within_budget() {
            return Err(Disorder);
        }
        if self.touched_tables {
            self.list_tables();
        }
        Ok(())
    }

    /// Passes the tables to the map, each before those below it.
    fn list_tables(&mut self) {
        self.map.forget_tables();
        let mut stack: Vec<_> = self.roots.iter().rev().map(|(root, _)| *root).collect();
        while let Some(node) = stack.pop().and_then(|id| self.nodes.get(id as usize)) {
            self.map.enter_table(self.page(node), node.space as usize);
            let below = self.children.get(node.children).iter().rev();
            stack.extend(below.filter(|child| **child != NO_NODE));
        }
    }

    /// Adjusts the cost of an address space.
    pub(super) fn charge(&mut self, space: u32, change: impl Fn(&mut Cost)) {
        change(&mut self.roots[space as usize].1);
        change(&mut self.total);
    }

    /// Applies the rule of [`ReverseMap::rebuild`] that an address space has no more than its share.
    pub(super) fn is_within_budget(&self) -> bool {
        let mut left = Left::new(self.budget);
        let most_misses = left.misses.max(1);
        // A space that needs no more than the first share always gets it, so one division suffices for nearly
        // all.
        let least = left.share(self.roots.len().max(1));
        let modest = |cost: &Cost| cost.tables <= least.tables && cost.pages <= least.leaves;
        let fits = modest(&self.total)
            || self.roots.iter().all(|(_, cost)| modest(cost))
            || self.roots.iter().enumerate().all(|(index, (_, cost))| {
                let share = left.share(self.roots.len() - index);
                let fits = cost.tables <= share.tables && cost.pages <= share.leaves;
                if fits {
                    left.take(cost.tables, cost.pages);
                }
                fits
            });
        fits && self.total.misses < most_misses
    }

    /// Matches the known address spaces with the current ones: some have gone, others have come.
    fn change_spaces<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        spaces: &[Space],
        scratch: &mut Scratch,
    ) -> Result<(), Disorder> {
        let old = self.map.spaces().to_vec();
        // The new index of each old space, if they are still in the same order.
        let mut places = vec![None; old.len()];
        let mut new = vec![true; spaces.len()];
        let mut from = 0;
        for (index, space) in spaces.iter().enumerate() {
            if let Some(found) = old[from..].iter().take(LOOK_AHEAD).position(|other| other == space) {
                places[from + found] = Some(index);
                new[index] = false;
                from += found + 1;
            }
        }
        for index in (0..old.len()).filter(|index| places[*index].is_none()) {
            self.uproot(self.roots[index].0);
        }
        // Costs of spaces that are gone get any index.
        let place = |index: usize| places.get(index).copied().flatten().unwrap_or(0);
        self.map.renumber(spaces, place);
        for node in self.nodes.iter_mut().filter(|node| node.level != 0) {
            node.space = place(node.space as usize) as u32;
        }
        let mut kept = std::mem::take(&mut self.roots)
            .into_iter()
            .zip(&places)
            .filter(|(_, place)| place.is_some())
            .peekable();
        for (space, is_new) in spaces.iter().zip(new) {
            match kept.next_if(|_| !is_new) {
                Some((root, _)) => self.roots.push(root),
                None => self.plant_space(mem, scratch, space)?,
            }
        }
        Ok(())
    }

    /// Reads the tree of the next address space.
    fn plant_space<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        space: &Space,
    ) -> Result<(), Disorder> {
        let root = Frame((space.root.0 & bits::ADDRESS) / 4096);
        let space = self.roots.len();
        self.roots.push((NO_NODE, Cost::default()));
        let place = Node {
            at: root,
            base: 0,
            space: space as u32,
            level: self.paging.root_level(),
            write: true,
            execute: true,
            parent: NO_NODE,
            entries: Span::default(),
            children: Span::default(),
            before: NO_NODE,
            after: NO_NODE,
        };
        self.roots[space].0 = self.plant(mem, scratch, place)?;
        Ok(())
    }
}
