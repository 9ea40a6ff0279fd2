//! A reverse map that is kept up to date: of a guest that ran on, only the table pages that changed are read again.
//!
//! What is kept is the tree of each address space as it was last read: for each table, at each place where it hangs, its
//! used entries and the tables below. A table that changed is read and compared with them, entry by entry; an entry that
//! is gone takes its pages out of the map, or the whole tree behind it, and a new one brings its own. So the comparison
//! is exact, and without a dirty log ([`Changed::everything`]) the result is the same: all tables are read, and only
//! differences cost more. Accessed and dirty bits are no part of what is compared.
//!
//! [`ReverseMap::rebuild`] says what a map has to be, and this one is never anything else. Where tables are not in order
//! (holes, reserved bits, cycles without end) or a budget would be spent, there are no short cuts: the map is built by
//! it, until all is well again.

use abi::{Frame, GuestPhys};

use crate::changed::Changed;
use crate::frames::FrameMap;
use crate::lists::{Lists, Span};
use crate::memory::{PhysicalMemory, Table};
use crate::paging::{Entry, Paging, Rights, bits};
use crate::reverse::{Left, Mapped, ReverseMap};
use crate::space::Space;
use crate::walk::{Budget, Mapping, TablePage, shift};

/// Number of a node; [`NO_NODE`] for none.
type NodeId = u32;
const NO_NODE: NodeId = u32::MAX;

/// Address spaces that may vanish in a row without those behind them being taken for new ones.
const LOOK_AHEAD: usize = 256;

/// A table at one place of one address space.
#[derive(Clone, Copy, Debug)]
struct Node {
    at: Frame,
    /// The first address that it stands for.
    base: u64,
    space: u32,
    level: u8,
    write: bool,
    execute: bool,
    /// Where it is named: the entry above, or for a root the table itself.
    named_at: GuestPhys,
    /// The node that it hangs below; none for a root.
    parent: NodeId,
    /// Its used entries, packed.
    entries: Span,
    /// For each of them the node below; none for level 1.
    children: Span,
    /// Other nodes of the same table.
    before: NodeId,
    after: NodeId,
}

/// A used entry: its bits that mean something, and its index where the processor has bits to spare (52 to 60).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Packed(u64);

impl Packed {
    /// What of an entry a mapping depends on.
    const MEANING: u64 =
        bits::PRESENT | bits::WRITE | bits::USER | bits::LARGE | bits::ADDRESS | bits::NO_EXECUTE;
    const INDEX_SHIFT: u32 = 52;

    const fn new(index: usize, value: u64) -> Self {
        Self(value & Self::MEANING | (index as u64) << Self::INDEX_SHIFT)
    }

    const fn index(self) -> u64 {
        self.0 >> Self::INDEX_SHIFT & 511
    }

    const fn value(self) -> u64 {
        self.0 & Self::MEANING
    }
}

/// What one address space has cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    tables: u64,
    pages: u64,
    /// Parts of large pages that are no memory.
    misses: u64,
}

/// Tables are not in order, or too many: no short cuts.
struct Disorder;

/// Whose mappings are others than before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touched<'a> {
    /// The map was built anew: any frame's.
    Everything,
    /// These frames', by rising number.
    Frames(&'a [Frame]),
}

/// A reverse map of what ring 3 can use, kept up to date.
#[derive(Clone, Debug)]
pub struct Followed {
    paging: Paging,
    budget: Budget,
    map: ReverseMap,
    /// The nodes below are those that the map was made from.
    in_order: bool,
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    /// The first node of each table.
    tables: FrameMap<Option<NodeId>>,
    entries: Lists<Packed>,
    children: Lists<NodeId>,
    /// Root and cost of each address space.
    roots: Vec<(NodeId, Cost)>,
    /// The map takes single pages, rather than all in order.
    live: bool,
    touched: Vec<Frame>,
    touched_tables: bool,
    touched_all: bool,
    /// Tables read in this update, and pages looked at: so much work and no more is done before it is called disorder.
    read: u64,
    work: u64,
    // Kept for their memory.
    spaces: Vec<Space>,
    scratch: Scratch,
}

#[derive(Clone, Debug)]
struct Scratch {
    page: Box<Table>,
    used: Vec<(usize, u64)>,
    fresh: Vec<Packed>,
    below: Vec<NodeId>,
    pending: Vec<NodeId>,
    work: Work,
}

/// A table as it is and as it was.
#[derive(Clone, Debug, Default)]
struct Work {
    fresh: Vec<Packed>,
    below: Vec<NodeId>,
    old: Vec<Packed>,
    old_below: Vec<NodeId>,
}

impl Default for Scratch {
    fn default() -> Self {
        let (page, used) = (Box::new([0; 512]), Vec::new());
        Self { page, used, fresh: Vec::new(), below: Vec::new(), pending: Vec::new(), work: Work::default() }
    }
}

impl Followed {
    /// A map of nothing yet.
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
            live: false,
            touched: Vec::new(),
            touched_tables: true,
            touched_all: true,
            read: 0,
            work: 0,
            spaces: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// The map as of the last update.
    pub const fn map(&self) -> &ReverseMap {
        &self.map
    }

    /// What the last update has changed.
    pub fn touched(&self) -> Touched<'_> {
        if self.touched_all { Touched::Everything } else { Touched::Frames(&self.touched) }
    }

    /// Whether the last update has changed which tables there are.
    pub const fn touched_tables(&self) -> bool {
        self.touched_tables
    }

    /// Table pages that the last update has read.
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// The next update builds the map anew.
    pub const fn forget(&mut self) {
        self.in_order = false;
    }

    /// Brings the map up to date: these are the address spaces now, and no frame outside of `changed` was written since
    /// the last update.
    pub fn update<M: PhysicalMemory + ?Sized>(&mut self, mem: &M, spaces: &[Space], changed: &Changed) {
        self.spaces.clear();
        self.spaces.extend_from_slice(&spaces[..spaces.len().min(ReverseMap::MOST_SPACES)]);
        self.touched.clear();
        (self.touched_all, self.touched_tables) = (false, false);
        (self.read, self.work) = (0, 0);
        let mut scratch = std::mem::take(&mut self.scratch);
        let worn = self.map.is_worn() || self.entries.is_worn() || self.children.is_worn();
        if !self.in_order || worn || self.follow(mem, changed, &mut scratch).is_err() {
            self.begin_anew(mem, &mut scratch);
        }
        self.scratch = scratch;
        self.touched.sort_unstable();
        self.touched.dedup();
    }

    /// All tables are read, and their trees kept if they are in order.
    fn begin_anew<M: PhysicalMemory + ?Sized>(&mut self, mem: &M, scratch: &mut Scratch) {
        self.touched.clear();
        (self.touched_all, self.touched_tables) = (true, true);
        (self.read, self.work) = (0, 0);
        self.nodes.clear();
        self.free.clear();
        self.tables.reset();
        self.entries.clear();
        self.children.clear();
        self.roots.clear();
        self.live = false;
        self.map.begin(self.spaces.iter().copied());
        let spaces = self.spaces.len();
        let planted = (0..spaces).try_for_each(|space| self.plant_space(mem, scratch, space));
        self.in_order = planted.is_ok() && self.is_within_budget();
        if self.in_order {
            self.map.finish();
        } else {
            self.map.rebuild(mem, self.paging, self.spaces.iter().copied(), self.budget);
            self.read += self.map.tables();
        }
    }

    /// Reads what changed. After an error the trees are of no use.
    fn follow<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        changed: &Changed,
        scratch: &mut Scratch,
    ) -> Result<(), Disorder> {
        self.live = true;
        if self.spaces != self.map.spaces() {
            self.change_spaces(mem, scratch)?;
        }
        let mut pending = std::mem::take(&mut scratch.pending);
        pending.clear();
        if changed.is_everything() {
            pending.extend((0..self.nodes.len() as NodeId).filter(|node| self.is_alive(*node)));
        } else {
            for frame in changed.frames() {
                let mut node = self.tables.get(frame);
                while let Some(id) = node {
                    pending.push(id);
                    let after = self.nodes[id as usize].after;
                    node = (after != NO_NODE).then_some(after);
                }
            }
        }
        // A node that is uprooted meanwhile is looked at for nothing.
        let read = pending.iter().try_for_each(|node| self.read_again(mem, scratch, *node));
        scratch.pending = pending;
        read?;
        if !self.is_within_budget() {
            return Err(Disorder);
        }
        if self.touched_tables {
            self.list_tables();
        }
        Ok(())
    }

    /// Tells the map of its tables, each before those below it.
    fn list_tables(&mut self) {
        self.map.forget_tables();
        let mut stack: Vec<_> = self.roots.iter().rev().map(|(root, _)| *root).collect();
        while let Some(node) = stack.pop().and_then(|id| self.nodes.get(id as usize)) {
            self.map.enter_table(node.page(), node.space as usize);
            let below = self.children.get(node.children).iter().rev();
            stack.extend(below.filter(|child| **child != NO_NODE));
        }
    }

    /// The rule of [`ReverseMap::rebuild`], that an address space has no more than its share.
    fn is_within_budget(&self) -> bool {
        let mut left = Left::new(self.budget);
        let misses: u64 = self.roots.iter().map(|(_, cost)| cost.misses).sum();
        // Who needs no more than the first share has it for sure, so that one division does for nearly all.
        let least = left.share(self.roots.len().max(1));
        let modest = |cost: &Cost| cost.tables <= least.tables && cost.pages <= least.leaves;
        let fits = self.roots.iter().all(|(_, cost)| modest(cost))
            || self.roots.iter().enumerate().all(|(index, (_, cost))| {
                let share = left.share(self.roots.len() - index);
                let fits = cost.tables <= share.tables && cost.pages <= share.leaves;
                if fits {
                    left.take(cost.tables, cost.pages);
                }
                fits
            });
        fits && misses < left.misses.max(1)
    }

    fn is_alive(&self, node: NodeId) -> bool {
        self.nodes[node as usize].level != 0
    }

    /// Some address spaces have gone, others have come.
    fn change_spaces<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
    ) -> Result<(), Disorder> {
        let old = self.map.spaces().to_vec();
        // Where each of the old ones is now, if they are still in their order.
        let mut places = vec![None; old.len()];
        let mut new = vec![true; self.spaces.len()];
        let mut from = 0;
        for (index, space) in self.spaces.iter().enumerate() {
            if let Some(found) = old[from..].iter().take(LOOK_AHEAD).position(|other| other == space) {
                places[from + found] = Some(index);
                new[index] = false;
                from += found + 1;
            }
        }
        for index in (0..old.len()).filter(|index| places[*index].is_none()) {
            self.uproot(self.roots[index].0);
        }
        // What is left over from spaces that are gone gets any place.
        let place = |index: usize| places.get(index).copied().flatten().unwrap_or(0);
        let spaces = std::mem::take(&mut self.spaces);
        self.map.renumber(&spaces, place);
        self.spaces = spaces;
        for node in self.nodes.iter_mut().filter(|node| node.level != 0) {
            node.space = place(node.space as usize) as u32;
        }
        let mut kept = std::mem::take(&mut self.roots)
            .into_iter()
            .zip(&places)
            .filter(|(_, place)| place.is_some())
            .peekable();
        for (index, &is_new) in new.iter().enumerate() {
            match kept.next_if(|_| !is_new) {
                Some((root, _)) => self.roots.push(root),
                None => self.plant_space(mem, scratch, index)?,
            }
        }
        Ok(())
    }

    fn plant_space<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        space: usize,
    ) -> Result<(), Disorder> {
        let root = Frame((self.spaces[space].root.0 & bits::ADDRESS) / 4096);
        self.roots.push((NO_NODE, Cost::default()));
        let place = Node {
            at: root,
            base: 0,
            space: space as u32,
            level: self.paging.root_level(),
            write: true,
            execute: true,
            named_at: root.base(),
            parent: NO_NODE,
            entries: Span::default(),
            children: Span::default(),
            before: NO_NODE,
            after: NO_NODE,
        };
        self.roots[space].0 = self.plant(mem, scratch, place)?;
        Ok(())
    }

    /// Reads a table and all below it.
    fn plant<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        mut node: Node,
    ) -> Result<NodeId, Disorder> {
        self.roots[node.space as usize].1.tables += 1;
        self.read += 1;
        if self.read > self.budget.tables.saturating_mul(2) {
            return Err(Disorder);
        }
        collect(mem, node.at, scratch)?;
        if self.live {
            self.touched_tables = true;
        } else {
            self.map.enter_table(node.page(), node.space as usize);
        }
        node.entries = self.entries.add(&scratch.fresh);
        let count = scratch.fresh.len();
        let id = self.new_node(node);
        if node.level == 1 {
            for nth in 0..count {
                self.bring(mem, scratch, (id, &node), scratch.fresh[nth])?;
            }
            return Ok(id);
        }
        scratch.below.clear();
        scratch.below.resize(count, NO_NODE);
        let children = self.children.add(&scratch.below);
        for nth in 0..count {
            let packed = self.entries.item(node.entries, nth);
            let child = self.bring(mem, scratch, (id, &node), packed)?;
            self.children.replace(children, nth, child);
        }
        self.nodes[id as usize].children = children;
        Ok(id)
    }

    /// Reads a table again.
    fn read_again<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        id: NodeId,
    ) -> Result<(), Disorder> {
        if !self.is_alive(id) {
            return Ok(());
        }
        let node = self.nodes[id as usize];
        self.read += 1;
        collect(mem, node.at, scratch)?;
        if self.entries.get(node.entries) == scratch.fresh {
            return Ok(());
        }
        // Below, new tables may be read: what is at work here is taken out of the scratch.
        let mut work = std::mem::take(&mut scratch.work);
        std::mem::swap(&mut work.fresh, &mut scratch.fresh);
        work.old.clear();
        work.old.extend_from_slice(self.entries.get(node.entries));
        work.old_below.clear();
        work.old_below.extend_from_slice(self.children.get(node.children));
        let exchanged = self.exchange(mem, scratch, (id, &node), &mut work);
        if exchanged.is_ok() {
            let Node { mut entries, mut children, .. } = node;
            self.entries.set(&mut entries, &work.fresh);
            if node.level > 1 {
                self.children.set(&mut children, &work.below);
            }
            let node = &mut self.nodes[id as usize];
            (node.entries, node.children) = (entries, children);
        }
        std::mem::swap(&mut work.fresh, &mut scratch.fresh);
        scratch.work = work;
        exchanged
    }

    /// Takes away the entries that are gone, and then brings those that are new, so that the map never holds two pages
    /// at one address. Both lists rise by index.
    fn exchange<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        (id, node): (NodeId, &Node),
        work: &mut Work,
    ) -> Result<(), Disorder> {
        let Work { fresh, old, old_below, below } = work;
        let mut new = fresh.iter().peekable();
        for (nth, packed) in old.iter().enumerate() {
            while new.next_if(|new| new.index() < packed.index()).is_some() {}
            if new.peek() != Some(&packed) {
                self.take_away(node, *packed, old_below.get(nth).copied().unwrap_or(NO_NODE));
            }
        }
        below.clear();
        let mut was = old.iter().zip(0..).peekable();
        for packed in fresh.iter() {
            while was.next_if(|(old, _)| old.index() < packed.index()).is_some() {}
            let child = match was.peek() {
                Some((old, nth)) if *old == packed => old_below.get(*nth).copied().unwrap_or(NO_NODE),
                _ => self.bring(mem, scratch, (id, node), *packed)?,
            };
            below.push(child);
        }
        Ok(())
    }

    /// A new entry: its pages go into the map, or the tables behind it into the tree.
    #[inline]
    fn bring<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        (id, node): (NodeId, &Node),
        packed: Packed,
    ) -> Result<NodeId, Disorder> {
        let value = packed.value();
        match self.paging.decode(value, node.level) {
            Entry::Table(at) => {
                if self.is_on_the_way(id, at.frame()) {
                    return Err(Disorder);
                }
                let rights = node.rights().through(value);
                let child = Node {
                    at: at.frame(),
                    base: node.base | packed.index() << shift(node.level),
                    level: node.level - 1,
                    write: rights.write,
                    execute: rights.execute,
                    named_at: node.at.base().add(packed.index() * 8),
                    parent: id,
                    children: Span::default(),
                    before: NO_NODE,
                    after: NO_NODE,
                    ..*node
                };
                self.plant(mem, scratch, child)
            }
            Entry::Leaf(frame, _) if !mem.has_frame(frame) => Err(Disorder),
            Entry::Leaf(frame, size) => {
                let mapping = node.mapping(self.paging, packed, frame, size);
                self.work += size.frames();
                if self.work > self.budget.leaves.saturating_mul(2) {
                    return Err(Disorder);
                }
                for nth in 0..size.frames() {
                    let frame = Frame(frame.0 + nth);
                    let cost = &mut self.roots[node.space as usize].1;
                    if nth != 0 && !mem.has_frame(frame) {
                        cost.misses += 1;
                        continue;
                    }
                    cost.pages += 1;
                    let mapped = Mapped::new(node.space as usize, &mapping, nth);
                    if self.live {
                        self.map.insert(mapped);
                        self.touched.push(frame);
                    } else {
                        self.map.enter(mapped);
                    }
                }
                Ok(NO_NODE)
            }
            Entry::Absent | Entry::Reserved => Err(Disorder),
        }
    }

    /// Whether this table is the one at `node`, or above it.
    fn is_on_the_way(&self, mut node: NodeId, table: Frame) -> bool {
        while let Some(Node { at, parent, .. }) = self.nodes.get(node as usize) {
            if *at == table {
                return true;
            }
            node = *parent;
        }
        false
    }

    /// An entry is gone, with all that it led to.
    fn take_away(&mut self, node: &Node, packed: Packed, child: NodeId) {
        if child != NO_NODE {
            self.uproot(child);
            return;
        }
        let Entry::Leaf(frame, size) = self.paging.decode(packed.value(), node.level) else { return };
        let mapping = node.mapping(self.paging, packed, frame, size);
        for nth in 0..size.frames() {
            let taken = self.map.remove(Mapped::new(node.space as usize, &mapping, nth));
            let cost = &mut self.roots[node.space as usize].1;
            if taken {
                cost.pages -= 1;
                self.touched.push(Frame(frame.0 + nth));
            } else {
                cost.misses -= 1;
            }
        }
    }

    /// A table is gone from its place, with all that hangs below.
    fn uproot(&mut self, id: NodeId) {
        let node = self.nodes[id as usize];
        for nth in 0..self.entries.get(node.entries).len() {
            let packed = self.entries.item(node.entries, nth);
            let child = if node.level > 1 { self.children.item(node.children, nth) } else { NO_NODE };
            self.take_away(&node, packed, child);
        }
        self.touched_tables = true;
        self.entries.remove(node.entries);
        self.children.remove(node.children);
        self.roots[node.space as usize].1.tables -= 1;
        // Out of the chain of its table.
        let after = (node.after != NO_NODE).then_some(node.after);
        match node.before {
            NO_NODE => *self.tables.get_mut(node.at) = after,
            before => self.nodes[before as usize].after = node.after,
        }
        if let Some(after) = after {
            self.nodes[after as usize].before = node.before;
        }
        self.nodes[id as usize].level = 0;
        self.free.push(id);
    }

    /// A place for a node, first in the chain of its table.
    fn new_node(&mut self, mut node: Node) -> NodeId {
        let id = self.free.pop().unwrap_or(self.nodes.len() as NodeId);
        let first = self.tables.get_mut(node.at);
        if let Some(first) = first.replace(id) {
            node.after = first;
            self.nodes[first as usize].before = id;
        }
        match self.nodes.get_mut(id as usize) {
            Some(free) => *free = node,
            None => self.nodes.push(node),
        }
        id
    }
}

impl Node {
    const fn page(&self) -> TablePage {
        TablePage { frame: self.at, entry: self.named_at }
    }

    const fn rights(&self) -> Rights {
        Rights { write: self.write, user: true, execute: self.execute }
    }

    fn mapping(
        &self,
        paging: Paging,
        packed: Packed,
        frame: Frame,
        size: crate::paging::PageSize,
    ) -> Mapping {
        Mapping {
            virt: paging.extend(self.base | packed.index() << shift(self.level)),
            frame,
            size,
            rights: self.rights().through(packed.value()),
            entry: GuestPhys(self.at.base().0 + packed.index() * 8),
        }
    }
}

/// Reads the entries of a table that ring 3 can use, by rising index.
fn collect<M: PhysicalMemory + ?Sized>(mem: &M, at: Frame, scratch: &mut Scratch) -> Result<(), Disorder> {
    let Scratch { page, used, fresh, .. } = scratch;
    used.clear();
    mem.entries(at.base(), bits::PRESENT | bits::USER, page, used).map_err(|_| Disorder)?;
    fresh.clear();
    fresh.extend(used.iter().map(|(index, value)| Packed::new(*index, *value)));
    Ok(())
}
