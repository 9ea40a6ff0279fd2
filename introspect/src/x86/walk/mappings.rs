//! The walk as an iterator: the same leaves in the same order as [`Paging::walk`] visits, for callers that
//! stop early, combine two walks, or pass them on.

use address::{GuestPhys, GuestVirt};

use super::types::{BadEntry, Budget, Cycle, Half, Mapping, Place, Truncated, WalkSummary, Why, shift};
use crate::x86::memory::{PhysicalMemory, Table};
use crate::x86::paging::{Entry, MOST_LEVELS, Paging, Rights, bits};

/// The leaves of an address space by rising address. A table is read and counted when the iterator reaches
/// it.
#[derive(Clone, Debug)]
pub struct Mappings<'a, M: ?Sized> {
    paging: Paging,
    mem: &'a M,
    budget: Budget,
    summary: WalkSummary,
    /// The tables on the path from the root, and the position in each.
    way: Vec<Step>,
    /// Their entries, in the same order.
    pages: Box<[Table; MOST_LEVELS as usize]>,
    /// The first entry on that path that closes a cycle.
    cycle: Option<Cycle>,
}

#[derive(Clone, Debug)]
struct Step {
    place: Place,
    entries: std::ops::Range<usize>,
    /// The cycle before this table was entered.
    before: Option<Cycle>,
}

impl Paging {
    /// Returns the present leaves of a half of the address space at `root` (a CR3 value), as [`Self::walk`]
    /// visits them.
    pub fn mappings<M>(self, mem: &M, root: GuestPhys, half: Half, budget: Budget) -> Mappings<'_, M>
    where
        M: PhysicalMemory + ?Sized,
    {
        let mut mappings = Mappings {
            paging: self,
            mem,
            budget,
            summary: WalkSummary::default(),
            way: Vec::with_capacity(MOST_LEVELS.into()),
            pages: Box::new([[0; 512]; MOST_LEVELS as usize]),
            cycle: None,
        };
        let (level, at, entries) = (self.root_level(), GuestPhys(root.0 & bits::ADDRESS), half.entries());
        let virt = self.extend((entries.start as u64) << shift(level));
        let origin = BadEntry { level, entry: at, value: at.0, virt, why: Why::RootOutside };
        mappings.enter(Place { level, at, base: GuestVirt(0), rights: Rights::ALL }, entries, origin, None);
        mappings
    }
}

impl<M: PhysicalMemory + ?Sized> Mappings<'_, M> {
    /// Returns the summary of the walk so far; it is complete once the iterator has ended.
    pub const fn summary(&self) -> &WalkSummary {
        &self.summary
    }

    /// Descends to a table. `origin` is reported as bad if there is none.
    fn enter(
        &mut self,
        place: Place,
        entries: std::ops::Range<usize>,
        origin: BadEntry,
        before: Option<Cycle>,
    ) {
        if self.summary.tables >= self.budget.tables {
            return self.cut(origin.virt);
        }
        self.summary.tables += 1;
        if self.mem.read_table(place.at, &mut self.pages[self.way.len()]).is_ok() {
            self.way.push(Step { place, entries, before });
        } else {
            self.summary.note(origin);
            self.cycle = before;
        }
    }

    fn cut(&mut self, at: GuestVirt) {
        self.summary.truncated = Some(Truncated { at, cycle: self.cycle });
        self.way.clear();
    }

    /// Descends to the table that this entry names.
    fn descend(&mut self, at: GuestPhys, rights: Rights, origin: BadEntry) {
        let BadEntry { level, entry, virt, .. } = origin;
        let before = self.cycle;
        let above = self.way.iter().rev().find(|step| step.place.at == at);
        if let (None, Some(above)) = (before, above) {
            let cycle = Cycle { level, entry, virt, table: at, above: above.place.level, user: rights.user };
            self.summary.note_cycle(cycle);
            self.cycle = Some(cycle);
        }
        self.enter(Place { level: level - 1, at, base: virt, rights }, 0..512, origin, before);
    }
}

impl<M: PhysicalMemory + ?Sized> Iterator for Mappings<'_, M> {
    type Item = Mapping;

    fn next(&mut self) -> Option<Mapping> {
        loop {
            let depth = self.way.len().checked_sub(1)?;
            let Step { place, entries, before } = &mut self.way[depth];
            let Some(index) = entries.find(|index| self.pages[depth][*index] & bits::PRESENT != 0) else {
                self.cycle = *before;
                self.way.pop();
                continue;
            };
            let (place, value) = (*place, self.pages[depth][index]);
            let level = place.level;
            let virt = self.paging.extend(place.base.0 | (index as u64) << shift(level));
            let (entry, rights) = (place.at.add(index as u64 * 8), place.rights.through(value));
            let bad = |why| BadEntry { level, entry, value, virt, why };
            match self.paging.decode(value, level) {
                Entry::Absent => {}
                Entry::Reserved => self.summary.note(bad(Why::Reserved)),
                Entry::Table(at) => self.descend(at, rights, bad(Why::TableOutside)),
                Entry::Leaf(frame, _) if !self.mem.has_frame(frame) => {
                    self.summary.note(bad(Why::PageOutside));
                }
                Entry::Leaf(..) if self.summary.leaves >= self.budget.leaves => self.cut(virt),
                Entry::Leaf(frame, size) => {
                    self.summary.leaves += 1;
                    return Some(Mapping { virt, frame, size, rights, entry });
                }
            }
        }
    }
}
