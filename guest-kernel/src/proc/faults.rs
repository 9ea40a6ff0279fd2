//! Exceptions of processes. A page fault on a reserved page is repaired (see [`crate::mem`]); other
//! exceptions end the process.
//!
//! When no frame is left for a page, neither free nor in quarantine, the user process with the most frames is
//! ended for it, and the access is tried again. Processes of root and of the kernel are never chosen.

use abi::GuestVirt;
use abi::process::State;
use abi::trace::Kind;

use super::{KILLED, Processes};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::mem::reserve::Refused;

/// Page-fault error code (Intel SDM vol. 3, 4.7): the page is there, the access was not allowed.
const PROTECTION: u64 = 1;
/// It was an instruction fetch.
const FETCH: u64 = 16;

impl<H: Hardware> Processes<H> {
    pub(crate) fn page_fault(&mut self, slot: Slot) {
        let at = self.hw().fault_address();
        let process = self.process(slot);
        let may_wait = process.runs_a_program() && process.phone.active == 0;
        if may_wait && process.d.context.error & (PROTECTION | FETCH) == 0 {
            loop {
                match self.mend(slot, GuestVirt(at).page()) {
                    Ok(()) => {
                        self.counters().faults += 1;
                        self.process(slot).d.faults += 1;
                        return;
                    }
                    Err(Refused::NotReserved) => break,
                    Err(Refused::NoMemory) if !self.out_of_memory(slot) => break,
                    // The one that asked was the one with the most.
                    Err(Refused::NoMemory) if self.current() != slot => return,
                    Err(Refused::NoMemory) => {}
                }
            }
        }
        self.fault(slot, 14, at);
    }

    /// Ends the user process with the most frames, since none is left for what `asking` wants; it may be
    /// `asking` itself. Returns whether there was one; of equals the one in the lowest slot is chosen.
    #[inline(never)]
    pub(crate) fn out_of_memory(&mut self, asking: Slot) -> bool {
        let mut most = (0, Slot::NONE);
        for slot in self.slots_used() {
            if !self.is_taken(slot) {
                continue;
            }
            let d = &self.process(slot).d;
            if d.uid != 0 && d.ring == 3 && d.state != State::Zombie as u8 && d.frames > most.0 {
                most = (d.frames, slot);
            }
        }
        let (frames, victim) = most;
        if victim.is_none() {
            return false;
        }
        let (by, pid) = (self.process(asking).d.pid, self.process(victim).d.pid);
        self.counters().out_of_memory += 1;
        self.emit(Kind::OutOfMemory, pid, frames, u64::from(by.0), 0);
        self.end(victim, KILLED);
        true
    }

    /// Ends a process for a fault of its own.
    #[inline(never)]
    pub(crate) fn fault(&mut self, slot: Slot, vector: u32, address: u64) {
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
