//! The recursive walk of a tree of page tables.

use address::{GuestPhys, GuestVirt};

use super::types::{
    BadEntry, Budget, Cut, Cycle, Half, Mapping, Place, TablePage, Truncated, WalkSummary, Why, shift,
};
use crate::x86::memory::{PhysicalMemory, Table};
use crate::x86::paging::{Entry, MOST_LEVELS, Paging, Rights, bits};

pub(super) struct Walk<'a, M: ?Sized, F, T> {
    pub(super) paging: Paging,
    pub(super) mem: &'a M,
    pub(super) budget: Budget,
    pub(super) ring3: bool,
    pub(super) visit: &'a mut F,
    pub(super) table: &'a mut T,
    pub(super) summary: WalkSummary,
    /// The tables on the path from the root, by level.
    pub(super) way: [GuestPhys; MOST_LEVELS as usize + 1],
    /// The first entry on that path that closes a cycle.
    pub(super) cycle: Option<Cycle>,
}

impl<'a, M, F, T> Walk<'a, M, F, T>
where
    M: PhysicalMemory + ?Sized,
    F: FnMut(Mapping),
    T: FnMut(TablePage),
{
    pub(super) fn new(
        paging: Paging,
        mem: &'a M,
        budget: Budget,
        (visit, table): (&'a mut F, &'a mut T),
    ) -> Self {
        let way = [GuestPhys(0); MOST_LEVELS as usize + 1];
        let summary = WalkSummary::default();
        Self { paging, mem, budget, ring3: false, visit, table, summary, way, cycle: None }
    }

    pub(super) fn run(mut self, root: GuestPhys, half: Half, ring3: bool) -> WalkSummary {
        self.ring3 = ring3;
        // For memory that is not directly accessible: one page for each level.
        let mut pages: [Table; MOST_LEVELS as usize] = [[0; 512]; MOST_LEVELS as usize];
        let (level, at) = (self.paging.root_level(), GuestPhys(root.0 & bits::ADDRESS));
        let entries = half.entries();
        let base = self.paging.extend((entries.start as u64) << shift(level));
        let origin = BadEntry { level, entry: at, value: at.0, virt: base, why: Why::RootOutside };
        let place = Place { level, at, base: GuestVirt(0), rights: Rights::ALL };
        // The summary records a cut; nothing else depends on it.
        let _: Result<(), Cut> = self.follow(&mut pages, place, entries, origin);
        self.summary
    }

    /// Visits entries of a table. `origin` is reported as bad if there is no table; `pages` has one page for
    /// each level from this one down.
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
            // Most of most tables is empty. Eight entries are one cache line: one test skips them.
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

    /// Visits a used entry.
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
                    self.note_if_cycle(level, entry, virt, at, rights.user);
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

    /// Notes a cycle if the table at `table`, which this entry names, is on the path to it.
    fn note_if_cycle(&mut self, level: u8, entry: GuestPhys, virt: GuestVirt, table: GuestPhys, user: bool) {
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
