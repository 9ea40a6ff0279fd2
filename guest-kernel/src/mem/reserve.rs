//! Demand paging: data, stack and heap are *reserved* until they are touched; the first touch is given a
//! zeroed frame.

use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_DATA, USER_HEAP, USER_HEAP_END, USER_STACK, USER_STACK_TOP, USER_WINDOWS};
use abi::trace::Kind;
use abi::{Frame, GuestVirt};

use super::Memory;
use super::space::{DATA, NoMemory, PRESENT};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;

/// Why a page could not be given.
pub(crate) enum Refused {
    /// It is not the process's to have.
    NotReserved,
    /// There is no frame.
    NoMemory,
}

impl From<NoMemory> for Refused {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl<H: Hardware> Memory<H> {
    pub(crate) fn mend(&mut self, slot: Slot, page: GuestVirt) -> Result<(), Refused> {
        match page.0 {
            USER_WINDOWS..USER_HEAP => Ok(self.late_access(slot, page)?),
            _ => self.give_reserved(slot, page),
        }
    }

    /// Gives the process a page that is reserved for it and not there yet; returns whether the page is there
    /// now. No process is ended for it here, since the caller may be in the middle of an operation: a system
    /// call that is refused for it is tried again (see [`crate::syscall`]).
    #[inline(never)]
    pub(crate) fn page_in(&mut self, slot: Slot, page: GuestVirt) -> bool {
        if self.entry(slot, page) & PRESENT != 0 {
            return true;
        }
        match self.give_reserved(slot, page) {
            Ok(()) => true,
            Err(Refused::NotReserved) => false,
            Err(Refused::NoMemory) => {
                self.starved = true;
                false
            }
        }
    }

    #[inline(always)]
    fn give_reserved(&mut self, slot: Slot, page: GuestVirt) -> Result<(), Refused> {
        let process = self.process(slot);
        let pages = |count: u32| u64::from(count) * PAGE_SIZE;
        let reserved = match page.0 {
            USER_DATA..USER_STACK => page.0 - USER_DATA < pages(process.data),
            USER_STACK..USER_STACK_TOP => true,
            USER_HEAP..USER_HEAP_END => page.0 - USER_HEAP < pages(process.heap),
            _ => false,
        };
        // A kernel process has no directory, a dead one no root.
        if !reserved || process.directory == 0 || process.d.root == 0 {
            return Err(Refused::NotReserved);
        }
        // The page table first: if it is the last frame, that one is not lost.
        let (table, index) = self.table_for(slot, page)?;
        let frame = self.give(slot, FrameKind::User)?;
        self.hw().page(table).0[index] = frame.base().0 | DATA;
        Ok(())
    }

    /// Handles an access to a window that is gone, by a server that cannot know that its loan has ended. It
    /// gets a spare page of its own to finish its work in, and no other process is harmed.
    #[inline(never)]
    fn late_access(&mut self, slot: Slot, page: GuestVirt) -> Result<(), NoMemory> {
        let process = self.process(slot);
        let (pid, spare) = (process.d.pid, process.spare);
        let frame = match spare {
            0 => {
                let frame = self.give(slot, FrameKind::User)?;
                self.process(slot).spare = frame.0 as u32;
                frame
            }
            frame => Frame(u64::from(frame)),
        };
        self.map(slot, page, frame, DATA)?;
        self.emit(Kind::LateWrite, pid, 0, page.0, 0);
        Ok(())
    }
}
