//! Faults of processes: page faults that the kernel can mend, and those that end their process.

use abi::GuestVirt;
use abi::frame::FrameKind;
use abi::layout::{USER_HEAP, USER_STACK, USER_STACK_TOP, USER_WINDOWS};
use abi::trace::Kind;

use crate::hardware::Hardware;
use crate::kernel::Kernel;
use crate::space::{DATA, NoMemory};

/// Page-fault error code (Intel SDM vol. 3, 4.7): the page is there, the access was not allowed.
const PROTECTION: u64 = 1;
/// It was an instruction fetch.
const FETCH: u64 = 16;

impl<H: Hardware> Kernel<H> {
    pub(crate) fn page_fault(&mut self, slot: usize) {
        let at = self.hw.fault_address();
        let error = self.process(slot).d.context.error;
        let page = GuestVirt(at).page();
        if error & (PROTECTION | FETCH) == 0 && self.process(slot).d.ring == 3 {
            let mended = match at {
                USER_STACK..USER_STACK_TOP => self.grow_stack(slot, page),
                USER_WINDOWS..USER_HEAP => self.late_access(slot, page),
                _ => Err(NoMemory),
            };
            if mended.is_ok() {
                return;
            }
        }
        self.fault(slot, 14, at);
    }

    fn grow_stack(&mut self, slot: usize, page: GuestVirt) -> Result<(), NoMemory> {
        let frame = self.give(slot, FrameKind::User)?;
        self.map(slot, page, frame, DATA)
    }

    /// A server comes back to a loan that has ended and whose window is gone. It cannot know; it gets a spare page of
    /// its own to finish its work in, and nobody is harmed.
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
        self.emit(Kind::LateWrite, pid, 0, page.0, 0);
        self.map(slot, page, frame, DATA)
    }

    /// A fault that is the process's own: it ends.
    pub(crate) fn fault(&mut self, slot: usize, vector: u32, address: u64) {
        let process = self.process(slot);
        let (pid, rip, ring) = (process.d.pid, process.d.context.rip, process.d.ring);
        assert!(ring == 3, "a kernel process faulted: vector {vector} at {rip:#x}, address {address:#x}");
        self.emit(Kind::Fault, pid, vector, rip, address);
        self.end(slot, 512 + u64::from(vector));
    }
}
