//! Address spaces: page tables of processes, built with frames from the pager.
//!
//! Everything that a process can map lies below 1 GiB, so that one page directory serves it all and a lookup
//! takes two steps (see `abi::layout`).

use abi::frame::FrameKind;
use abi::layout::{DIRECT_MAP, PAGE_SIZE, USER_END};
use abi::{Frame, GuestVirt};

use super::Memory;
use crate::base::hardware::Hardware;
use crate::base::index::Slot;

/// Entry bits (Intel SDM vol. 3, 4.5).
pub const PRESENT: u64 = 1;
/// Writable.
pub const WRITE: u64 = 1 << 1;
/// Reachable from ring 3.
pub const USER: u64 = 1 << 2;
/// Not executable.
pub const NO_EXECUTE: u64 = 1 << 63;
/// The bits that hold the frame's address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Private memory.
pub const DATA: u64 = PRESENT | WRITE | USER | NO_EXECUTE;
/// Program text.
pub const TEXT: u64 = PRESENT | USER;
/// Read-only data.
pub const RODATA: u64 = PRESENT | USER | NO_EXECUTE;

/// No frame left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

/// The frame that an entry points to.
pub fn frame_of(entry: u64) -> Frame {
    Frame((entry & ADDRESS) / PAGE_SIZE)
}

impl<H: Hardware> Memory<H> {
    /// Builds an empty address space: the kernel's half shared, the user half one directory.
    pub(crate) fn build_space(&mut self, slot: Slot) -> Result<(), NoMemory> {
        let root = self.give(slot, FrameKind::PageTable)?;
        let pointers = self.give(slot, FrameKind::PageTable)?;
        let directory = self.give(slot, FrameKind::PageTable)?;
        let direct = (DIRECT_MAP >> 39 & 511) as usize;
        let root_of_all = self.kernel_root;
        let kernel = self.hw().page(root_of_all);
        let (direct_entry, image_entry) = (kernel.0[direct], kernel.0[511]);
        let table = self.hw().page(root);
        table.0[0] = pointers.base().0 | PRESENT | WRITE | USER;
        table.0[direct] = direct_entry;
        table.0[511] = image_entry;
        self.hw().page(pointers).0[0] = directory.base().0 | PRESENT | WRITE | USER;
        let process = self.process(slot);
        process.d.root = root.0 as u32;
        process.directory = directory.0 as u32;
        Ok(())
    }

    /// The page table and index for a user address, if there is a table.
    #[inline(always)]
    pub(crate) fn slot_of(&mut self, slot: Slot, page: GuestVirt) -> Option<(Frame, usize)> {
        if page.0 >= USER_END {
            return None;
        }
        let directory = Frame(u64::from(self.process(slot).directory));
        let entry = self.hw().page(directory).0[(page.0 >> 21) as usize];
        (entry & PRESENT != 0).then(|| (frame_of(entry), (page.0 >> 12 & 511) as usize))
    }

    /// The entry that maps a user page, or 0.
    pub(crate) fn entry(&mut self, slot: Slot, page: GuestVirt) -> u64 {
        match self.slot_of(slot, page) {
            Some((table, index)) => self.hw().page(table).0[index],
            None => 0,
        }
    }

    /// Maps a frame at a user page, building the page table if there is none. What was mapped there is
    /// forgotten.
    pub(crate) fn map(
        &mut self,
        slot: Slot,
        page: GuestVirt,
        frame: Frame,
        flags: u64,
    ) -> Result<(), NoMemory> {
        let (table, index) = self.table_for(slot, page)?;
        let before = core::mem::replace(&mut self.hw().page(table).0[index], frame.base().0 | flags);
        if before & PRESENT != 0 && slot == self.current() {
            self.hw().flush_page(page);
        }
        Ok(())
    }

    /// The page table and index for a user page; the table is built if there is none.
    #[inline(always)]
    pub(crate) fn table_for(&mut self, slot: Slot, page: GuestVirt) -> Result<(Frame, usize), NoMemory> {
        match self.slot_of(slot, page) {
            Some(found) => Ok(found),
            None => self.new_table(slot, page),
        }
    }

    #[inline(never)]
    fn new_table(&mut self, slot: Slot, page: GuestVirt) -> Result<(Frame, usize), NoMemory> {
        let table = self.give(slot, FrameKind::PageTable)?;
        let directory = Frame(u64::from(self.process(slot).directory));
        self.hw().page(directory).0[(page.0 >> 21 & 511) as usize] = table.base().0 | PRESENT | WRITE | USER;
        Ok((table, (page.0 >> 12 & 511) as usize))
    }

    /// Removes the mapping of a user page.
    pub(crate) fn unmap(&mut self, slot: Slot, page: GuestVirt) {
        if let Some((table, index)) = self.slot_of(slot, page) {
            self.hw().page(table).0[index] = 0;
            if slot == self.current() {
                self.hw().flush_page(page);
            }
        }
    }
}
