//! The gateway: the one way by which data passes between the memory of user processes and that of the kernel. (In the
//! story: the Trainman.)
//!
//! Whatever a process names by address goes through [`Kernel::copy_in`] or [`Kernel::copy_out`]: the range is checked
//! when the [`UserPtr`] is made, each page when it is come to, and a checksum is formed of the words as they pass.
//!
//! Who wants to send and finds no room waits here, in a bounded queue that outside readers can see. When there may be
//! room again the *system call* is made again, from its beginning: between two attempts the kernel holds nothing for it
//! and nothing that was checked can have become untrue.
//!
//! ```text
//! Running --no room--> Gated --room--> Ready, to make its call again
//!                      Gated --its time is over, a signal, the end--> as any other wait
//! ```
//!
//! Served are the urgent before the others and each in its turn. That is what priorities are for, and it has a price: as
//! long as there are urgent ones a lesser one waits, for ever if need be. With the priorities' fix, age alone counts.

use abi::flow::Gate;
use abi::layout::{PAGE_SIZE, USER_END, USER_TEXT};
use abi::process::State;
use abi::syscall::Error;
use abi::trace::Kind;
use abi::{GuestVirt, Pid};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::hardware::Hardware;
use crate::ipc::PORTS;
use crate::kernel::{GATE_SLOTS, Kernel};
use crate::network::PORT_DATAGRAMS;
use crate::space::{PRESENT, USER, WRITE, frame_of};

/// Most bytes in one transfer.
pub const TRANSFER_BYTES: u64 = 256;

/// An address and a length that a process has given: word-aligned, short, and in the half that belongs to processes.
/// Whether anything is mapped there is seen when it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserPtr {
    at: u64,
    bytes: u64,
}

impl UserPtr {
    /// `bytes` bytes at `at`: up to [`TRANSFER_BYTES`] at a multiple of 8, or [`Error::Invalid`]; where a process can
    /// have memory, or [`Error::BadAddress`].
    pub fn new(at: u64, bytes: u64) -> Result<Self, Error> {
        if bytes > TRANSFER_BYTES || !at.is_multiple_of(8) {
            return Err(Error::Invalid);
        }
        if !(USER_TEXT..=USER_END).contains(&at) || at + bytes > USER_END {
            return Err(Error::BadAddress);
        }
        Ok(Self { at, bytes })
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }

    /// Words that hold them; the last may be held in part.
    pub const fn words(self) -> usize {
        self.bytes.div_ceil(8) as usize
    }
}

/// A transfer that a process has asked for and that is not done yet.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Transfer {
    /// Its number, in the order in which they are asked for; 0 for none.
    pub number: u64,
    /// Tick at which it was asked for: its age counts from here, through all attempts.
    pub since: u64,
    /// Tick until which its process will wait; `u64::MAX` for ever.
    pub until: u64,
    /// Tick of the present attempt, while its process waits at the gateway.
    tried: u64,
}

impl Transfer {
    /// None.
    pub const NONE: Self = Self { number: 0, since: 0, until: 0, tried: 0 };
}

/// Length of the SYSCALL instruction: so far a process goes back to make its call again.
const SYSCALL_BYTES: u64 = 2;

/// The checksum of words that have passed, one more word taken in: no single bit and no exchange of neighbours can be
/// missed, and it costs two instructions a word.
#[must_use]
pub const fn sum(sum: u64, word: u64) -> u64 {
    sum.rotate_left(1).wrapping_add(word)
}

/// The bytes of the last word that count: all, or as many as `bytes` has beyond whole words.
const fn mask(bytes: u64) -> u64 {
    match bytes % 8 {
        0 => u64::MAX,
        rest => (1 << (rest * 8)) - 1,
    }
}

impl<H: Hardware> Kernel<H> {
    /// Copies from the memory of the user process in `slot` to the front of `into`, which has at least
    /// [`UserPtr::words`]; bytes of the last word beyond the length are zero. Gives the [`sum`] of the words, from 0.
    /// A page that is reserved but not there yet is paged in; [`Error::BadAddress`] where there is none, for kernel
    /// processes and for the dead. Nothing waits here.
    pub(crate) fn copy_in(&mut self, slot: usize, from: UserPtr, into: &mut [u64]) -> Result<u64, Error> {
        let into = &mut into[..from.words()];
        let (mut at, mut done, mut check) = (from.at, 0, 0);
        while done < into.len() {
            let (frame, first) = self.reach(slot, at, PRESENT | USER)?;
            let source = &self.hw.page(frame).0[first..];
            for (to, word) in into[done..].iter_mut().zip(source) {
                *to = *word;
                check = sum(check, *word);
            }
            let here = source.len().min(into.len() - done);
            done += here;
            at += here as u64 * 8;
        }
        if let Some(last) = into.last_mut() {
            // What lies behind the last byte is nobody's business.
            let whole = *last;
            *last &= mask(from.bytes);
            check = check.wrapping_sub(whole).wrapping_add(*last);
        }
        self.passed(from);
        Ok(check)
    }

    /// Copies the front of `from`, which has at least [`UserPtr::words`], to the memory of the user process in `slot`;
    /// memory behind the last byte stays as it is. Otherwise as [`Self::copy_in`]; the page must be writable to its
    /// owner. When it is refused half-way the first page has been written.
    pub(crate) fn copy_out(&mut self, slot: usize, to: UserPtr, from: &[u64]) -> Result<u64, Error> {
        let from = &from[..to.words()];
        let (mut at, mut done, mut check) = (to.at, 0, 0);
        while done < from.len() {
            let (frame, first) = self.reach(slot, at, PRESENT | USER | WRITE)?;
            let target = &mut self.hw.page(frame).0[first..];
            let here = target.len().min(from.len() - done);
            let last = target[here - 1];
            for (to, word) in target.iter_mut().zip(&from[done..]) {
                *to = *word;
                check = sum(check, *word);
            }
            done += here;
            at += here as u64 * 8;
            if done == from.len() {
                let mask = mask(to.bytes);
                let word = from[done - 1];
                target[here - 1] = (word & mask) | (last & !mask);
                check = check.wrapping_sub(word).wrapping_add(word & mask);
            }
        }
        self.passed(to);
        Ok(check)
    }

    fn passed(&mut self, what: UserPtr) {
        self.info.counters.transfers += 1;
        self.info.counters.transferred += what.bytes;
    }

    /// The frame behind a user address and the word in it, if its page has all of `rights` or can be given.
    fn reach(&mut self, slot: usize, at: u64, rights: u64) -> Result<(abi::Frame, usize), Error> {
        let process = self.process(slot);
        // A kernel process has no directory, a dead one no root.
        if process.d.root == 0 || process.directory == 0 {
            return Err(Error::BadAddress);
        }
        let page = GuestVirt(at).page();
        let mut entry = self.entry(slot, page);
        if entry & PRESENT == 0 && self.page_in(slot, page) {
            entry = self.entry(slot, page);
        }
        if entry & rights != rights {
            return Err(Error::BadAddress);
        }
        Ok((frame_of(entry), (at % PAGE_SIZE / 8) as usize))
    }

    /// The running process asks for a transfer, or asks again: a transfer keeps its number, its age and the end of its
    /// patience (ticks; 0 for ever) until it is done. Says whether this is another attempt.
    pub(crate) fn ask_for_transfer(&mut self, slot: usize, patience: u64) -> bool {
        if self.process(slot).transfer.number != 0 {
            return true;
        }
        self.transfer_serial += 1;
        let (number, now) = (self.transfer_serial, self.info.tick);
        let until = if patience == 0 { u64::MAX } else { now.saturating_add(patience) };
        self.process(slot).transfer = Transfer { number, since: now, until, tried: now };
        false
    }

    /// Whether a process may be set back to make its call again: kernel processes come by another way, and wait for
    /// nobody at the gateway.
    pub(crate) fn may_be_set_back(&mut self, slot: usize) -> bool {
        let process = self.process(slot);
        process.runs_a_program() && process.phone.active == 0
    }

    /// Sets a process that runs a program back: its registers are as they were, and its next instruction is `SYSCALL`.
    pub(crate) fn set_back(&mut self, slot: usize) {
        let context = &mut self.process(slot).d.context;
        context.rip = context.rip.wrapping_sub(SYSCALL_BYTES);
    }

    /// The running process, which may be set back, waits for room: for a place at the port `place`, or for a buffer; `peer` could make some.
    /// `again` says that it has waited before.
    pub(crate) fn wait_at_gateway(
        &mut self,
        slot: usize,
        place: usize,
        bytes: u64,
        peer: Pid,
        again: bool,
    ) -> Result<(), Error> {
        let now = self.info.tick;
        let process = self.process(slot);
        let (pid, Transfer { number, since, until, .. }) = (process.d.pid, process.transfer);
        if until <= now {
            let owner = self.ports.bound[place].owner;
            self.gave_up(pid, place, owner);
            return Err(Error::TimedOut);
        }
        let gate = Gate { pid, bytes: bytes as u32, since, sequence: number };
        let nth = self.admit(gate).ok_or(Error::Exhausted)?;
        if !again {
            self.info.counters.gated += 1;
        }
        self.emit(Kind::Gated, pid, nth as u32 + 1, bytes, now.saturating_sub(since));
        if until != u64::MAX {
            self.timers.set(slot, until);
        }
        let process = self.wait_for(slot, State::Gated, peer);
        process.port = place as u32;
        process.transfer.tried = now;
        // From outside its age is seen, not that of this attempt.
        process.d.since = since;
        self.current = 0;
        Ok(())
    }

    /// Enters somebody into the queue at the place that is due to it; `None` if it is full.
    fn admit(&mut self, gate: Gate) -> Option<usize> {
        let waiting = self.info.gate_waiting as usize;
        if waiting >= GATE_SLOTS {
            return None;
        }
        let rank = self.rank(gate);
        let mut place = waiting;
        while place > 0 && self.rank(self.gates[place - 1]) > rank {
            self.gates[place] = self.gates[place - 1];
            place -= 1;
        }
        self.gates[place] = gate;
        self.info.gate_waiting += 1;
        Some(place)
    }

    /// Who is served first has the smallest rank.
    fn rank(&mut self, gate: Gate) -> (u8, u64) {
        let priority = if self.params.fix_priorities { 0 } else { self.process(gate.pid.slot()).d.effective };
        (priority, gate.sequence)
    }

    /// Takes one out of the queue.
    fn dismiss(&mut self, place: usize) {
        let pid = self.gates[place].pid;
        let waiting = self.info.gate_waiting as usize;
        for each in place + 1..waiting {
            self.gates[each - 1] = self.gates[each];
        }
        self.gates[waiting - 1] = Gate::default();
        self.info.gate_waiting -= 1;
        // Its account of waiting has what went before this attempt already.
        let process = self.process(pid.slot());
        process.d.since = process.transfer.tried;
    }

    /// A gated process stops waiting, whatever the reason; its transfer is forgotten.
    pub(crate) fn leave_gateway(&mut self, slot: usize) {
        let pid = self.process(slot).d.pid;
        let waiting = &self.gates[..self.info.gate_waiting as usize];
        if let Some(place) = waiting.iter().position(|gate| gate.pid == pid) {
            self.dismiss(place);
        }
        self.process(slot).transfer = Transfer::NONE;
    }

    /// There may be room: as many try again as it is for, and all whose port is no more. To let in one too many does no
    /// harm, it comes back to its old place; one too few would wait for nothing.
    pub(crate) fn open_gates(&mut self) {
        if self.info.gate_waiting == 0 {
            return;
        }
        let mut room = self.buffers.at_hand();
        if self.buffers.may_grow() && self.pager.free_frames() + self.pager.quarantined() > 0 {
            room += 1;
        }
        let mut let_in = [0; PORTS];
        let mut nth = 0;
        while nth < self.info.gate_waiting as usize {
            let slot = self.gates[nth].pid.slot();
            let process = self.process(slot);
            let (number, place) = (process.d.context.rdi, process.port as usize);
            let port = &self.ports.bound[place];
            let gone = port.number != number;
            if !gone {
                if room == 0 || port.mail.count() + let_in[place] >= PORT_DATAGRAMS {
                    nth += 1;
                    continue;
                }
                room -= 1;
                let_in[place] += 1;
            }
            self.dismiss(nth);
            self.timers.cancel(slot);
            self.set_back(slot);
            self.make_ready(slot);
        }
    }
}
