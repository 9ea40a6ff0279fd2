//! Walks as methods of [`Paging`]: of one address or of a whole tree.

use address::{GuestPhys, GuestVirt};

use super::types::{Budget, Half, Mapping, NotMapped, TablePage, Translation, WalkSummary, Why, shift};
use super::walker::Walk;
use crate::x86::memory::PhysicalMemory;
use crate::x86::paging::{Entry, Paging, Rights, bits};

impl Paging {
    /// Visits every present leaf of a half of the address space at `root` (a CR3 value: its low 12 bits are
    /// ignored), in rising order of address.
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

    /// Like [`Self::walk`] over both halves, but visits only the leaves that ring 3 can use. Tables behind an
    /// entry without the user bit are not read.
    pub fn walk_ring3<M, F>(self, mem: &M, root: GuestPhys, budget: Budget, visit: &mut F) -> WalkSummary
    where
        M: PhysicalMemory + ?Sized,
        F: FnMut(Mapping),
    {
        self.walk_ring3_with_tables(mem, root, budget, visit, &mut |_| ())
    }

    /// Like [`Self::walk_ring3`], and calls `table` for every table that is read, before its leaves.
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

    /// Translates one address by the tables at `root`, as the processor would.
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
