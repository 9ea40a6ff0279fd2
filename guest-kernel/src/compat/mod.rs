//! System calls of older versions, for old programs. It has no state of its own; it touches process
//! descriptors, page tables and saved registers directly, and only [`crate::syscall`] calls it. (In the
//! story: vampires, version 1, and ghosts, version 2.)
//!
//! Old programs make the calls that their version had ([`abi::compat`]), in the same registers as the present
//! calls, and never notice that the kernel has changed.
//!
//! The design's defect: the shims were ported, not rewritten. They do what the kernel of their version did,
//! straight to structures that now belong to other subsystems. There was a good reason: code that is left
//! alone keeps working, and it is no longer known what old programs rely on. Each layering violation is
//! described at its place below. Used as intended, and with memory to spare, none of them does harm.

use abi::GuestVirt;
use abi::compat::{V1_BRK, V1_EXIT, V1_NICE, V1_SLEEP, V2_EXIT, V2_POST_WORD, V2_STAT, V2_YIELD};
use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_HEAP, USER_HEAP_END};
use abi::process::State;
use abi::syscall::Error;
use abi::trace::Kind;

use crate::base::arguments::OldArguments;
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::base::process::PRIORITIES;
use crate::mem::space::{DATA, PRESENT, USER, WRITE, frame_of};
use crate::proc::EXIT_STATUS;
use crate::security::Security;

impl<H: Hardware> Security<H> {
    /// Carries out a system call whose number the present version does not have.
    #[inline(never)]
    pub(crate) fn old_call(&mut self, slot: Slot, number: u64) -> Result<(), Error> {
        let process = self.process(slot);
        if process.d.ring != 3 {
            return Err(Error::Invalid);
        }
        let pid = process.d.pid;
        let OldArguments { first, second } = self.arguments(slot);
        let version = match number {
            V1_EXIT..=V1_NICE => 1,
            V2_EXIT..=V2_STAT => 2,
            _ => return Err(Error::Invalid),
        };
        match version {
            1 => self.counters().calls_v1 += 1,
            _ => self.counters().calls_v2 += 1,
        }
        self.emit(Kind::OldCall, pid, number as u32, version, 0);
        match number {
            V1_EXIT | V2_EXIT => {
                let status = first & EXIT_STATUS;
                self.emit(Kind::Exit, pid, status as u32, 0, 0);
                self.end(slot, status);
                return Ok(());
            }
            V1_SLEEP => {
                self.process(slot).d.context.rax = 0;
                let due = self.due_in(first.max(1));
                self.timers().set(slot, due);
                self.block(slot, State::Sleeping);
                return Ok(());
            }
            V1_BRK => self.old_brk(slot, first)?,
            V1_NICE => self.old_nice(slot, first),
            V2_YIELD => self.request_switch(),
            V2_POST_WORD => self.old_post_word(slot, first, second)?,
            _ => self.old_stat(slot, first)?,
        }
        self.process(slot).d.context.rax = 0;
        Ok(())
    }

    /// Layering violation: takes frames and writes page-table entries itself, as when there was no demand
    /// paging. The frames are not in the process's account, so that a process that has many of them is not
    /// chosen when memory runs out, and they are taken whatever the low-water mark says.
    fn old_brk(&mut self, slot: Slot, address: u64) -> Result<(), Error> {
        let process = self.process(slot);
        let from = u64::from(process.heap);
        let end = USER_HEAP + from * PAGE_SIZE;
        let to = match address {
            0 => from,
            _ if address < end || address > USER_HEAP_END => return Err(Error::Invalid),
            _ => (address - USER_HEAP).div_ceil(PAGE_SIZE),
        };
        for page in from..to {
            let page = GuestVirt(USER_HEAP + page * PAGE_SIZE);
            let directory = abi::Frame(u64::from(self.process(slot).directory));
            let at = (page.0 >> 21) as usize;
            let entry = self.hw().page(directory).0[at];
            let table = match entry & PRESENT {
                0 => {
                    let table = self.old_frame(slot, FrameKind::PageTable)?;
                    self.hw().page(directory).0[at] = table.base().0 | PRESENT | WRITE | USER;
                    table
                }
                _ => frame_of(entry),
            };
            let frame = self.old_frame(slot, FrameKind::User)?;
            self.hw().page(table).0[(page.0 >> 12 & 511) as usize] = frame.base().0 | DATA;
            self.process(slot).heap += 1;
        }
        self.process(slot).d.context.rdi = end;
        Ok(())
    }

    /// Takes a frame as version 1 did: a free one only, straight from the list. The ledger still records it.
    fn old_frame(&mut self, slot: Slot, kind: FrameKind) -> Result<abi::Frame, Error> {
        self.give_unaccounted(slot, kind).map_err(|_| Error::Exhausted)
    }

    /// Layering violation: writes the priority into the descriptor, and the queues of the scheduler are not
    /// told. That is harmless as long as a process does it only to itself while it runs, and so is in no
    /// queue; a priority that was lent is lost.
    fn old_nice(&mut self, slot: Slot, steps: u64) {
        let process = self.process(slot);
        let last = PRIORITIES as u64 - 1;
        let priority = u64::from(process.d.priority).saturating_add(steps).min(last) as u8;
        (process.d.priority, process.d.effective) = (priority, priority);
    }

    /// Layering violation: writes straight into the saved registers of a process that waits for a message, on
    /// any port, past IPC: it is not counted, tapped or entered into the flow table, and a reply to it finds
    /// no sender.
    fn old_post_word(&mut self, slot: Slot, pid: u64, word: u64) -> Result<(), Error> {
        let (me, uid) = (self.process(slot).d.pid, self.process(slot).d.uid);
        let to = self.find_named(pid).ok_or(Error::Dead)?;
        if self.process(to).d.state != State::Receiving as u8 {
            return Err(Error::NotFound);
        }
        self.wake(to, 0, [u64::from(me.0), word]);
        let context = &mut self.process(to).d.context;
        (context.rdx, context.r10, context.r8, context.r9) = (0, 0, 0, u64::from(uid));
        Ok(())
    }

    /// Layering violation: reads the descriptor of any process, without a check of whether the caller may
    /// know it.
    fn old_stat(&mut self, slot: Slot, pid: u64) -> Result<(), Error> {
        let of = self.find_named(pid).ok_or(Error::Dead)?;
        let d = &self.process(of).d;
        let (state, entries, uid) = (u64::from(d.state), d.entries, u64::from(d.uid));
        let context = &mut self.process(slot).d.context;
        (context.rdi, context.rsi, context.rdx) = (state, entries, uid);
        Ok(())
    }
}
