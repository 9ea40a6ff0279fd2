//! Data between the memory of user processes and that of the kernel.
//!
//! Whatever a process names by address goes through [`Memory::copy_in`] or [`Memory::copy_out`]: the range is
//! checked when the [`UserPtr`] is made, each page when it is reached, and a checksum is formed of the words
//! as they pass.

use abi::layout::{PAGE_SIZE, USER_END, USER_TEXT};
use abi::syscall::Error;
use abi::{Frame, GuestVirt};

use super::Memory;
use super::space::{PRESENT, USER, WRITE, frame_of};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;

/// Most bytes in one transfer.
pub(crate) const TRANSFER_BYTES: u64 = 256;

/// An address and a length that a process has given: word-aligned, short, and in the half that belongs to
/// processes. Whether anything is mapped there is seen when it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UserPtr {
    at: u64,
    bytes: u64,
}

impl UserPtr {
    /// `bytes` bytes at `at`: up to [`TRANSFER_BYTES`] at a multiple of 8, or [`Error::Invalid`]; where a
    /// process can have memory, or [`Error::BadAddress`].
    pub(crate) fn new(at: u64, bytes: u64) -> Result<Self, Error> {
        if bytes > TRANSFER_BYTES || !at.is_multiple_of(8) {
            return Err(Error::Invalid);
        }
        if !(USER_TEXT..=USER_END).contains(&at) || at + bytes > USER_END {
            return Err(Error::BadAddress);
        }
        Ok(Self { at, bytes })
    }

    /// Words that hold them; the last may be held in part.
    pub(crate) const fn words(self) -> usize {
        self.bytes.div_ceil(8) as usize
    }
}

/// The checksum of words that have passed, one more word taken in: no single bit and no exchange of
/// neighbours can be missed, and it costs two instructions a word.
#[must_use]
pub(crate) const fn sum(sum: u64, word: u64) -> u64 {
    sum.rotate_left(1).wrapping_add(word)
}

/// The bytes of the last word that count: all, or as many as `bytes` has beyond whole words.
const fn mask(bytes: u64) -> u64 {
    match bytes % 8 {
        0 => u64::MAX,
        rest => (1 << (rest * 8)) - 1,
    }
}

impl<H: Hardware> Memory<H> {
    /// Copies from the memory of the user process in `slot` to the front of `into`, which has at least
    /// [`UserPtr::words`]; bytes of the last word beyond the length are zero. Returns the [`sum`] of the
    /// words, from 0. A page that is reserved but not there yet is paged in; [`Error::BadAddress`] where
    /// there is none, for kernel processes and for the dead. Nothing waits here.
    pub(crate) fn copy_in(&mut self, slot: Slot, from: UserPtr, into: &mut [u64]) -> Result<u64, Error> {
        let into = &mut into[..from.words()];
        let (mut at, mut done, mut check) = (from.at, 0, 0);
        while done < into.len() {
            let (frame, first) = self.reach(slot, at, PRESENT | USER)?;
            let source = &self.hw().page(frame).0[first..];
            for (to, word) in into[done..].iter_mut().zip(source) {
                *to = *word;
                check = sum(check, *word);
            }
            let here = source.len().min(into.len() - done);
            done += here;
            at += here as u64 * 8;
        }
        if let Some(last) = into.last_mut() {
            // Bytes behind the last one are not part of the transfer.
            let whole = *last;
            *last &= mask(from.bytes);
            check = check.wrapping_sub(whole).wrapping_add(*last);
        }
        self.passed(from);
        Ok(check)
    }

    /// Copies the front of `from`, which has at least [`UserPtr::words`], to the memory of the user process
    /// in `slot`; memory behind the last byte stays as it is. Otherwise as [`Self::copy_in`]; the page must
    /// be writable to its owner. When it is refused half-way the first page has been written.
    pub(crate) fn copy_out(&mut self, slot: Slot, to: UserPtr, from: &[u64]) -> Result<u64, Error> {
        let from = &from[..to.words()];
        let (mut at, mut done, mut check) = (to.at, 0, 0);
        while done < from.len() {
            let (frame, first) = self.reach(slot, at, PRESENT | USER | WRITE)?;
            let target = &mut self.hw().page(frame).0[first..];
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
        self.counters().transfers += 1;
        self.counters().transferred += what.bytes;
    }

    /// The frame behind a user address and the word in it, if its page has all of `rights` or can be given.
    fn reach(&mut self, slot: Slot, at: u64, rights: u64) -> Result<(Frame, usize), Error> {
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
}
