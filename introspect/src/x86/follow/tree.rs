//! The trees of a [`Followed`]: reading a table and all below it, reading a changed table again, and removing
//! a tree.

use address::{Frame, GuestPhys};

use super::followed::{Disorder, Followed, Scratch, Work};
use super::node::{First, NO_NODE, Node, NodeId};
use crate::x86::lists::Span;
use crate::x86::memory::{PhysicalMemory, Table};
use crate::x86::paging::{Entry, PageSize, Paging, Rights, UsedEntry, bits};
use crate::x86::reverse::Mapped;
use crate::x86::walk::{Mapping, TablePage, shift};

impl Followed {
    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        self.nodes[node as usize].level != 0
    }

    /// The table with the entry that names it: an entry of the table above, or for a root the table itself.
    pub(super) fn page(&self, node: &Node) -> TablePage {
        let index = node.base >> shift(node.level + 1) & 511;
        let above = self.nodes.get(node.parent as usize);
        let entry = above.map_or(node.at.base(), |above| GuestPhys(above.at.base().0 + index * 8));
        TablePage { frame: node.at, entry }
    }

    /// Reads a table and all tables below it.
    pub(super) fn plant<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        mut node: Node,
    ) -> Result<NodeId, Disorder> {
        self.charge(node.space, |cost| cost.tables += 1);
        self.read += 1;
        if self.read > self.budget.tables.saturating_mul(2) {
            return Err(Disorder);
        }
        let page = &mut scratch.page;
        node.entries = self.entries.append(|entries| used_entries(mem, node.at, page, entries))?;
        if self.live {
            self.touched_tables = true;
        } else {
            self.map.enter_table(self.page(&node), node.space as usize);
        }
        let id = self.new_node(node);
        if node.level == 1 {
            self.bring_pages(mem, &node)?;
            return Ok(id);
        }
        let count = node.entries.len();
        let children = self.children.add_many(count, NO_NODE);
        for nth in 0..count {
            let entry = self.entries.item(node.entries, nth);
            let child = self.bring(mem, scratch, (id, &node), entry)?;
            self.children.replace(children, nth, child);
        }
        self.nodes[id as usize].children = children;
        Ok(id)
    }

    /// Reads a table again.
    pub(super) fn read_again<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        work: &mut Work,
        id: NodeId,
    ) -> Result<(), Disorder> {
        if !self.is_alive(id) {
            return Ok(());
        }
        self.read += 1;
        let Scratch { page, fresh, .. } = &mut *scratch;
        fresh.clear();
        used_entries(mem, self.nodes[id as usize].at, page, fresh)?;
        let (old, fresh) = (self.entries.get(self.nodes[id as usize].entries), &scratch.fresh[..]);
        // Skip the common prefix and suffix: nearly always one entry has changed.
        let same = |(old, new): &(&UsedEntry, &UsedEntry)| old == new;
        let before = old.iter().zip(fresh).take_while(same).count();
        if before == old.len() && before == fresh.len() {
            return Ok(());
        }
        let after = old[before..].iter().rev().zip(fresh[before..].iter().rev()).take_while(same).count();
        // New tables below may be read, which need the scratch memory.
        work.was.clear();
        work.was.extend_from_slice(&old[before..old.len() - after]);
        work.is.clear();
        work.is.extend_from_slice(&fresh[before..fresh.len() - after]);
        let mut node = self.nodes[id as usize];
        self.entries.set(&mut node.entries, fresh);
        work.below.clear();
        if node.level > 1 {
            work.below.extend_from_slice(self.children.get(node.children));
        }
        self.exchange(mem, scratch, work, (id, &node, before))?;
        if node.level > 1 {
            self.children.set(&mut node.children, &work.below);
        }
        let changed = &mut self.nodes[id as usize];
        (changed.entries, changed.children) = (node.entries, node.children);
        Ok(())
    }

    /// Removes the old entries, then adds the new ones, so that the map never holds two pages at one address.
    /// Both lists rise by index and start at the `from`-th entry of the table.
    pub(super) fn exchange<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        work: &mut Work,
        (id, node, from): (NodeId, &Node, usize),
    ) -> Result<(), Disorder> {
        let Work { was, is, below, between } = work;
        // A table of level 1 has none.
        let was_below = below.get(from..from + was.len()).unwrap_or_default();
        let mut new = is.iter().peekable();
        for (nth, entry) in was.iter().enumerate() {
            while new.next_if(|new| new.index() < entry.index()).is_some() {}
            if new.peek() != Some(&entry) {
                self.take_away(node, *entry, was_below.get(nth).copied().unwrap_or(NO_NODE));
            }
        }
        between.clear();
        let mut old = was.iter().zip(0..).peekable();
        for entry in is.iter() {
            while old.next_if(|(old, _)| old.index() < entry.index()).is_some() {}
            let child = match old.peek() {
                Some((old, nth)) if *old == entry => was_below.get(*nth).copied().unwrap_or(NO_NODE),
                _ => self.bring(mem, scratch, (id, node), *entry)?,
            };
            between.push(child);
        }
        if node.level > 1 {
            below.splice(from..from + was.len(), between.iter().copied());
        }
        Ok(())
    }

    /// Adds the entries of a new table of level 1, which are most of all entries: [`Self::bring`] without the
    /// cases that level 1 cannot have.
    pub(super) fn bring_pages<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        node: &Node,
    ) -> Result<(), Disorder> {
        let pages = node.entries.len() as u64;
        self.work += pages;
        self.charge(node.space, |cost| cost.pages += pages);
        if self.work > self.budget.leaves.saturating_mul(2) {
            return Err(Disorder);
        }
        let paging = self.paging;
        for nth in 0..node.entries.len() {
            let entry = self.entries.item(node.entries, nth);
            let Entry::Leaf(frame, size) = paging.decode(entry.value(), 1) else {
                return Err(Disorder);
            };
            if !mem.has_frame(frame) {
                return Err(Disorder);
            }
            let mapping = node.mapping(paging, entry, frame, size);
            self.put(Mapped::new(node.space as usize, &mapping, 0));
        }
        Ok(())
    }

    /// Adds a page to the map. Inlined by request: the call would be half of a page's cost.
    #[inline(always)]
    pub(super) fn put(&mut self, mapped: Mapped) {
        if self.live {
            self.map.insert(mapped);
            self.touched.push(mapped.frame());
        } else {
            self.map.enter(mapped);
        }
    }

    /// Adds an entry: its pages to the map, or the tables behind it to the tree.
    #[inline]
    pub(super) fn bring<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        scratch: &mut Scratch,
        (id, node): (NodeId, &Node),
        entry: UsedEntry,
    ) -> Result<NodeId, Disorder> {
        let value = entry.value();
        match self.paging.decode(value, node.level) {
            Entry::Table(at) => {
                if self.is_on_the_way(id, at.frame()) {
                    return Err(Disorder);
                }
                let rights = node.rights().through(value);
                let child = Node {
                    at: at.frame(),
                    base: node.base | entry.index() << shift(node.level),
                    level: node.level - 1,
                    write: rights.write,
                    execute: rights.execute,
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
                let mapping = node.mapping(self.paging, entry, frame, size);
                self.work += size.frames();
                if self.work > self.budget.leaves.saturating_mul(2) {
                    return Err(Disorder);
                }
                for nth in 0..size.frames() {
                    let frame = Frame(frame.0 + nth);
                    if nth != 0 && !mem.has_frame(frame) {
                        self.charge(node.space, |cost| cost.misses += 1);
                        continue;
                    }
                    self.charge(node.space, |cost| cost.pages += 1);
                    self.put(Mapped::new(node.space as usize, &mapping, nth));
                }
                Ok(NO_NODE)
            }
            Entry::Absent | Entry::Reserved => Err(Disorder),
        }
    }

    /// Returns whether this table is the one at `node`, or above it.
    pub(super) fn is_on_the_way(&self, mut node: NodeId, table: Frame) -> bool {
        while let Some(Node { at, parent, .. }) = self.nodes.get(node as usize) {
            if *at == table {
                return true;
            }
            node = *parent;
        }
        false
    }

    /// Removes an entry with all that it led to.
    pub(super) fn take_away(&mut self, node: &Node, entry: UsedEntry, child: NodeId) {
        if child != NO_NODE {
            self.uproot(child);
            return;
        }
        let Entry::Leaf(frame, size) = self.paging.decode(entry.value(), node.level) else { return };
        let mapping = node.mapping(self.paging, entry, frame, size);
        for nth in 0..size.frames() {
            let taken = self.map.remove(Mapped::new(node.space as usize, &mapping, nth));
            if taken {
                self.charge(node.space, |cost| cost.pages -= 1);
                self.touched.push(Frame(frame.0 + nth));
            } else {
                self.charge(node.space, |cost| cost.misses -= 1);
            }
        }
    }

    /// Removes a table from its place, with all tables below it.
    pub(super) fn uproot(&mut self, id: NodeId) {
        let node = self.nodes[id as usize];
        for nth in 0..self.entries.get(node.entries).len() {
            let entry = self.entries.item(node.entries, nth);
            let child = if node.level > 1 { self.children.item(node.children, nth) } else { NO_NODE };
            self.take_away(&node, entry, child);
        }
        self.touched_tables = true;
        self.entries.remove(node.entries);
        self.children.remove(node.children);
        self.charge(node.space, |cost| cost.tables -= 1);
        // Remove it from the chain of its table.
        match node.before {
            NO_NODE => *self.tables.get_mut(node.at) = First(node.after),
            before => self.nodes[before as usize].after = node.after,
        }
        if node.after != NO_NODE {
            self.nodes[node.after as usize].before = node.before;
        }
        self.nodes[id as usize].level = 0;
        self.free.push(id);
    }

    /// Stores a node, first in the chain of its table.
    pub(super) fn new_node(&mut self, mut node: Node) -> NodeId {
        let id = self.free.pop().unwrap_or(self.nodes.len() as NodeId);
        let first = self.tables.get_mut(node.at);
        node.after = std::mem::replace(&mut first.0, id);
        if node.after != NO_NODE {
            self.nodes[node.after as usize].before = id;
        }
        match self.nodes.get_mut(id as usize) {
            Some(free) => *free = node,
            None => self.nodes.push(node),
        }
        id
    }
}

impl Node {
    const fn rights(&self) -> Rights {
        Rights { write: self.write, user: true, execute: self.execute }
    }

    pub(super) fn mapping(&self, paging: Paging, entry: UsedEntry, frame: Frame, size: PageSize) -> Mapping {
        Mapping {
            virt: paging.extend(self.base | entry.index() << shift(self.level)),
            frame,
            size,
            rights: self.rights().through(entry.value()),
            entry: GuestPhys(self.at.base().0 + entry.index() * 8),
        }
    }
}

/// Appends the entries of a table that ring 3 can use, by rising index.
fn used_entries<M: PhysicalMemory + ?Sized>(
    mem: &M,
    at: Frame,
    scratch: &mut Table,
    into: &mut Vec<UsedEntry>,
) -> Result<(), Disorder> {
    mem.entries(at.base(), bits::PRESENT | bits::USER, scratch, into).map_err(|_| Disorder)
}
