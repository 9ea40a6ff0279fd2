//! Buffers of datagrams: a bounded pool of equal pieces of frames. Frames come from the pager one by one as
//! they are needed and go back when they are empty.
//!
//! The pool keeps no reserve: the last buffer goes to the first that asks, be it for a request or for the
//! reply to one. There was a good reason: memory set aside for a rare case is wasted, and a server frees a
//! buffer before it needs one. A server that waits for a buffer while all of them hold requests to it waits
//! without end.

use abi::Frame;
use abi::boot::BootParameter;
use abi::layout::PAGE_SIZE;

/// Bytes of a buffer: two words of header, then the data.
const BUFFER_BYTES: u64 = 256;
/// Words of a buffer.
pub(crate) const BUFFER_WORDS: usize = BUFFER_BYTES as usize / 8;
/// Buffers in a frame.
const IN_FRAME: usize = (PAGE_SIZE / BUFFER_BYTES) as usize;
/// Buffers in the pool at most, whatever the parameter says.
const MOST_BUFFERS: usize = *BootParameter::Buffers.range().end() as usize;
/// Frames in the pool at most.
const FRAMES: usize = MOST_BUFFERS / IN_FRAME;

/// What the kernel keeps of a datagram beside its buffer.
#[derive(Clone, Copy)]
pub(crate) struct Letter {
    /// The sender's uid.
    pub uid: u32,
    /// Bytes of data.
    pub bytes: u8,
    /// The next in the port's queue.
    pub next: u8,
}

/// The pool. A buffer is known by its number.
pub(crate) struct Buffers {
    /// Frames of the pool; 0 where there is none.
    frames: [u32; FRAMES],
    /// A bit for each buffer in use.
    taken: [u16; FRAMES],
    /// By buffer.
    pub letters: [Letter; MOST_BUFFERS],
    count: u32,
    used: u32,
    limit: u32,
}

impl Buffers {
    /// An empty pool that will never have more than `limit` buffers in use.
    pub(crate) const fn new(limit: u32) -> Self {
        Self {
            frames: [0; FRAMES],
            taken: [0; FRAMES],
            letters: [Letter { uid: 0, bytes: 0, next: 0 }; MOST_BUFFERS],
            count: 0,
            used: 0,
            limit,
        }
    }

    /// Buffers in use.
    pub(crate) const fn used(&self) -> u32 {
        self.used
    }

    /// Frames in the pool.
    #[cfg(test)]
    pub(crate) const fn frames(&self) -> u32 {
        self.count
    }

    /// Buffers that can be taken without another frame.
    pub(crate) const fn at_hand(&self) -> u32 {
        let there = self.count * IN_FRAME as u32;
        (if there < self.limit { there } else { self.limit }) - self.used
    }

    /// Whether another frame would be of use.
    pub(crate) const fn may_grow(&self) -> bool {
        self.count * (IN_FRAME as u32) < self.limit
    }

    /// Takes a buffer that is at hand.
    #[must_use]
    pub(crate) fn take(&mut self) -> Option<u8> {
        if self.at_hand() == 0 {
            return None;
        }
        let place = (0..FRAMES).find(|place| self.frames[*place] != 0 && self.taken[*place] != u16::MAX)?;
        let bit = (!self.taken[place]).trailing_zeros() as usize;
        self.taken[place] |= 1 << bit;
        self.used += 1;
        Some((place * IN_FRAME + bit) as u8)
    }

    /// Takes one more frame into the pool.
    pub(crate) fn add(&mut self, frame: Frame) {
        if let Some(place) = self.frames.iter().position(|frame| *frame == 0) {
            self.frames[place] = frame.0 as u32;
            self.taken[place] = 0;
            self.count += 1;
        }
    }

    /// Puts a buffer back. Returns the frame that is empty now and not needed, since others have room.
    #[must_use]
    pub(crate) fn put(&mut self, buffer: u8) -> Option<Frame> {
        let (place, bit) = (usize::from(buffer) / IN_FRAME, usize::from(buffer) % IN_FRAME);
        self.taken[place] &= !(1 << bit);
        self.used -= 1;
        if self.taken[place] != 0 || self.used >= (self.count - 1) * IN_FRAME as u32 {
            return None;
        }
        self.count -= 1;
        Some(Frame(u64::from(core::mem::take(&mut self.frames[place]))))
    }

    /// Where a buffer is: its frame, and its first word there.
    pub(crate) fn at(&self, buffer: u8) -> (Frame, usize) {
        let (place, nth) = (usize::from(buffer) / IN_FRAME, usize::from(buffer) % IN_FRAME);
        (Frame(u64::from(self.frames[place])), nth * BUFFER_BYTES as usize / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    /// What the kernel does, with frames numbered from 1.
    fn take(pool: &mut Buffers, next: &mut u64) -> Option<u8> {
        if pool.at_hand() == 0 && pool.may_grow() {
            *next += 1;
            pool.add(Frame(*next));
        }
        pool.take()
    }

    #[test]
    fn an_empty_frame_stays_only_as_long_as_it_is_needed() {
        let (mut pool, mut next) = (Buffers::new(128), 0);
        let held: Vec<u8> = (0..33).map(|_| take(&mut pool, &mut next).unwrap()).collect();
        assert_eq!((pool.frames(), next), (3, 3));
        let gone: Vec<Frame> = held.into_iter().filter_map(|buffer| pool.put(buffer)).collect();
        assert_eq!(gone.len(), 2, "one stays for the next datagram");
        assert_eq!((pool.used(), pool.frames()), (0, 1));
        assert!(take(&mut pool, &mut next).is_some());
        assert_eq!(next, 3);
    }

    proptest! {
        #[test]
        fn no_buffer_is_given_twice_and_the_pool_is_bounded(
            limit in 1u32..MOST_BUFFERS as u32 + 1,
            steps in prop::collection::vec((0u8..5, any::<prop::sample::Index>()), 0..600),
        ) {
            let (mut pool, mut next) = (Buffers::new(limit), 0);
            let mut held: Vec<(u8, (Frame, usize))> = Vec::new();
            let mut frames = BTreeSet::new();
            for (what, pick) in steps {
                if what < 3 {
                    let before = next;
                    match take(&mut pool, &mut next) {
                        Some(buffer) => {
                            frames.extend((before..next).map(|frame| Frame(frame + 1)));
                            let at = pool.at(buffer);
                            prop_assert!(frames.contains(&at.0) && at.1 + 32 <= 512);
                            prop_assert!(held.iter().all(|(other, there)| *other != buffer && *there != at));
                            held.push((buffer, at));
                        }
                        None => {
                            prop_assert_eq!(held.len(), limit as usize);
                            prop_assert_eq!(before, next, "no frame is taken in vain");
                        }
                    }
                } else if !held.is_empty() {
                    let (buffer, at) = held.swap_remove(pick.index(held.len()));
                    prop_assert_eq!(pool.at(buffer), at, "a buffer does not move");
                    if let Some(frame) = pool.put(buffer) {
                        prop_assert!(held.iter().all(|(_, (other, _))| *other != frame));
                        prop_assert!(frames.remove(&frame));
                    }
                }
                prop_assert_eq!(pool.used() as usize, held.len());
                prop_assert_eq!(pool.frames() as usize, frames.len());
                prop_assert!(pool.frames() <= limit.div_ceil(16));
                prop_assert!(!held.is_empty() || pool.frames() <= 1);
            }
        }
    }
}
