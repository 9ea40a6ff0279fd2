//! Faults of processes: demand paging, and the faults that end their process.
//!
//! Data, stack and heap are *reserved* until they are touched: the fault that the first touch makes gives a zeroed
//! frame. Where there is none left, neither free nor in quarantine, the user process with the most frames is ended for
//! it, and the touch is tried again; root's processes and the kernel's own are never chosen.

use abi::GuestVirt;
use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_DATA, USER_HEAP, USER_HEAP_END, USER_STACK, USER_STACK_TOP, USER_WINDOWS};
use abi::process::State;
use abi::trace::Kind;

use crate::hardware::Hardware;
use crate::kernel::Kernel;
use crate::process::KILLED;
use crate::space::{DATA, NoMemory, PRESENT};

/// Page-fault error code (Intel SDM vol. 3, 4.7): the page is there, the access was not allowed.
const PROTECTION: u64 = 1;
/// It was an instruction fetch.
const FETCH: u64 = 16;

/// Why a page could not be given.
enum Refused {
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

impl<H: Hardware> Kernel<H> {
    pub(crate) fn page_fault(&mut self, slot: usize) {
        let at = self.hw.fault_address();
        let process = self.process(slot);
        let may_wait = process.runs_a_program() && process.phone.active == 0;
        if may_wait && process.d.context.error & (PROTECTION | FETCH) == 0 {
            loop {
                match self.mend(slot, GuestVirt(at).page()) {
                    Ok(()) => {
                        self.info.counters.faults += 1;
                        self.process(slot).d.faults += 1;
                        return;
                    }
                    Err(Refused::NotReserved) => break,
                    Err(Refused::NoMemory) if !self.out_of_memory(slot) => break,
                    // The one that asked was the one with the most.
                    Err(Refused::NoMemory) if self.current != slot => return,
                    Err(Refused::NoMemory) => {}
                }
            }
        }
        self.fault(slot, 14, at);
    }

    fn mend(&mut self, slot: usize, page: GuestVirt) -> Result<(), Refused> {
        match page.0 {
            USER_WINDOWS..USER_HEAP => Ok(self.late_access(slot, page)?),
            _ => self.give_reserved(slot, page),
        }
    }

    /// Gives the process a page that is reserved for it and not there yet; says whether the page is there now. Nobody is
    /// ended for it here, since the caller may be in the middle of something: a system call that is refused for it is
    /// tried again (see [`Self::system_call`]).
    #[inline(never)]
    pub(crate) fn page_in(&mut self, slot: usize, page: GuestVirt) -> bool {
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
    fn give_reserved(&mut self, slot: usize, page: GuestVirt) -> Result<(), Refused> {
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
        self.hw.page(table).0[index] = frame.base().0 | DATA;
        Ok(())
    }

    /// A server comes back to a loan that has ended and whose window is gone. It cannot know; it gets a spare page of
    /// its own to finish its work in, and nobody is harmed.
    #[inline(never)]
    fn late_access(&mut self, slot: usize, page: GuestVirt) -> Result<(), NoMemory> {
        let process = self.process(slot);
        let (pid, spare) = (process.d.pid, process.spare);
        let frame = match spare {
            0 => {
                let frame = self.give(slot, FrameKind::User)?;
                self.process(slot).spare = frame.0 as u32;
                frame
            }
            frame => abi::Frame(u64::from(frame)),
        };
        self.map(slot, page, frame, DATA)?;
        self.emit(Kind::LateWrite, pid, 0, page.0, 0);
        Ok(())
    }

    /// No frame is left for what `asking` wants: the user process with the most frames is ended, be it the one that asks.
    /// Says whether there was one; equals are chosen in the order of their slots.
    #[inline(never)]
    pub(crate) fn out_of_memory(&mut self, asking: usize) -> bool {
        let mut most = (0, 0);
        for slot in 1..self.slots.limit() {
            if self.descriptors[slot] == 0 {
                continue;
            }
            let Self { hw, descriptors, .. } = self;
            let d = &Self::process_in(hw, abi::Frame(u64::from(descriptors[slot]))).d;
            if d.uid != 0 && d.ring == 3 && d.state != State::Zombie as u8 && d.frames > most.0 {
                most = (d.frames, slot);
            }
        }
        let (frames, victim) = most;
        if victim == 0 {
            return false;
        }
        let (by, pid) = (self.process(asking).d.pid, self.process(victim).d.pid);
        self.info.counters.out_of_memory += 1;
        self.emit(Kind::OutOfMemory, pid, frames, u64::from(by.0), 0);
        self.end(victim, KILLED);
        true
    }

    /// A fault that is the process's own: it ends.
    #[inline(never)]
    pub(crate) fn fault(&mut self, slot: usize, vector: u32, address: u64) {
        let process = self.process(slot);
        let (pid, rip, runs_a_program) = (process.d.pid, process.d.context.rip, process.runs_a_program());
        assert!(
            runs_a_program,
            "a kernel process faulted: vector {vector} at {rip:#x}, address {address:#x}"
        );
        self.emit(Kind::Fault, pid, vector, rip, address);
        self.end(slot, 512 + u64::from(vector));
    }
}
