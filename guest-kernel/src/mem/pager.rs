//! The pager: the free list, the quarantine and the epochs.
//!
//! A freed frame may still be within reach of a dead window: a loan has ended, but its teardown is deferred.
//! Such a frame is *quarantined* and stamped with the current epoch. An epoch ends when every address space
//! with pending teardown has been through the scheduler's switch; then its frames are free again.
//!
//! The design bug, third of its places: when the free list is empty, [`Pager::take`] hands out the oldest
//! quarantined frame without asking whether its epoch has ended. There was a good reason: a pager that waits
//! for other subsystems can deadlock with them, and the oldest frame's window is almost certainly gone.
//! Almost.
//!
//! When fewer frames are free than the *low-water mark*, the pager warns, once until twice as many are free
//! again. When the quarantine does not make up for it either, people are no longer started. When no frame is
//! left at all, a process with many frames is ended (see [`crate::proc`]).

use abi::frame::{FrameEntry, FrameKind};
use abi::{Frame, Pid};

use crate::base::process::Chain;

/// Where a frame came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Source {
    /// Never used since boot.
    Fresh = 0,
    /// The free list.
    FreeList = 1,
    /// The quarantine, before its epoch had ended.
    Early = 2,
}

/// The frame table and its lists.
pub struct Pager {
    table: &'static mut [FrameEntry],
    free: u32,
    quarantine: (u32, u32),
    /// The next frame that was never used.
    fresh: u32,
    /// Frames from here on (to the second number) hold the boot module.
    hole: (u32, u32),
    free_frames: u32,
    quarantined: u32,
    epoch: u32,
    /// The low-water mark.
    mark: u32,
    /// The mark until it has been warned of; then 0 until there is enough again.
    warning: u32,
}

impl Pager {
    /// Creates a pager over `table`, whose frames below `first` and within `hole` are in use already.
    pub fn new(table: &'static mut [FrameEntry], first: u32, hole: (u32, u32)) -> Self {
        for entry in &mut table[..first as usize] {
            entry.kind = FrameKind::Kernel as u8;
        }
        let (from, to) = (hole.0.min(table.len() as u32), hole.1.min(table.len() as u32));
        for entry in &mut table[from as usize..to as usize] {
            entry.kind = FrameKind::Program as u8;
        }
        let taken_above = to.saturating_sub(from.max(first));
        let free_frames = (table.len() as u32).saturating_sub(first + taken_above);
        Self {
            table,
            free: 0,
            quarantine: (0, 0),
            fresh: first,
            hole: (from, to),
            free_frames,
            quarantined: 0,
            epoch: 1,
            mark: 0,
            warning: 0,
        }
    }

    /// Marks frames that hold a part of the boot module inside the kernel image.
    pub fn mark_programs(&mut self, first: u32, last: u32) {
        for entry in &mut self.table[first as usize..last as usize] {
            entry.kind = FrameKind::Program as u8;
        }
    }

    /// Frames that can be had without touching the quarantine.
    pub fn free_frames(&self) -> u32 {
        self.free_frames
    }

    /// Sets the low-water mark.
    pub fn watch(&mut self, mark: u32) {
        (self.mark, self.warning) = (mark, mark);
    }

    /// The low-water mark.
    pub fn mark(&self) -> u32 {
        self.mark
    }

    /// Whether all that is left, the quarantine included, is less than the low-water mark.
    pub fn is_scarce(&self) -> bool {
        self.free_frames + self.quarantined < self.mark
    }

    /// Whether fewer frames are free than the low-water mark, and no warning has been given yet.
    pub fn is_alarming(&self) -> bool {
        self.free_frames < self.warning
    }

    /// The alarm has been given.
    pub fn alarmed(&mut self) {
        self.warning = 0;
    }

    /// Frames in quarantine.
    pub fn quarantined(&self) -> u32 {
        self.quarantined
    }

    /// The current epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What the table says about a frame.
    pub fn entry(&self, frame: Frame) -> Option<&FrameEntry> {
        self.table.get(frame.0 as usize)
    }

    /// Takes a frame for `owner`. `None` when there is none left at all.
    #[must_use]
    #[inline(always)]
    pub fn take(&mut self, kind: FrameKind, owner: Pid) -> Option<(Frame, Source)> {
        let (frame, source) = if self.free != 0 {
            let frame = self.free;
            self.free = self.table[frame as usize].next;
            self.free_frames -= 1;
            (frame, Source::FreeList)
        } else if let Some(frame) = self.take_fresh() {
            (frame, Source::Fresh)
        } else {
            (self.take_quarantined()?, Source::Early)
        };
        self.table[frame as usize] =
            FrameEntry { owner, next: 0, epoch: 0, kind: kind as u8, reserved: [0; 3] };
        Some((Frame(u64::from(frame)), source))
    }

    #[inline(always)]
    fn take_fresh(&mut self) -> Option<u32> {
        if self.fresh == self.hole.0 {
            self.fresh = self.fresh.max(self.hole.1);
        }
        let frame = self.fresh;
        if frame as usize >= self.table.len() {
            return None;
        }
        self.fresh += 1;
        self.free_frames -= 1;
        Some(frame)
    }

    #[inline(never)]
    fn take_quarantined(&mut self) -> Option<u32> {
        let frame = self.quarantine.0;
        if frame == 0 {
            return None;
        }
        self.quarantine.0 = self.table[frame as usize].next;
        self.quarantined -= 1;
        Some(frame)
    }

    /// Takes a frame back; `guarded` says that some window is still to be taken down, so that it must wait.
    /// The next link is the caller's to read first: a chain of frames is taken apart this way.
    pub fn put(&mut self, frame: Frame, guarded: bool) {
        let number = frame.0 as u32;
        let entry = &mut self.table[number as usize];
        entry.owner = Pid::NONE;
        entry.epoch = self.epoch;
        if guarded {
            entry.kind = FrameKind::Quarantined as u8;
            entry.next = 0;
            if self.quarantine.0 == 0 {
                self.quarantine.0 = number;
            } else {
                self.table[self.quarantine.1 as usize].next = number;
            }
            self.quarantine.1 = number;
            self.quarantined += 1;
        } else {
            entry.kind = FrameKind::Free as u8;
            entry.next = self.free;
            self.free = number;
            self.free_frames += 1;
            if self.free_frames > self.mark.saturating_mul(2) {
                self.warning = self.mark;
            }
        }
    }

    /// Ends the epoch: no window stands any more, and the quarantine is freed. Returns the number of frames.
    pub fn end_epoch(&mut self) -> u32 {
        let released = self.quarantined;
        while let Some(frame) = self.take_quarantined() {
            self.put(Frame(u64::from(frame)), false);
        }
        self.epoch += 1;
        released
    }

    /// Changes the owner of a frame.
    pub fn own(&mut self, frame: Frame, owner: Pid) {
        if let Some(entry) = self.table.get_mut(frame.0 as usize) {
            entry.owner = owner;
        }
    }

    /// Adds a frame to the end of a chain.
    pub fn chain(&mut self, chain: &mut Chain, frame: Frame) {
        let number = frame.0 as u32;
        if chain.first == 0 {
            chain.first = number;
        } else {
            self.table[chain.last as usize].next = number;
        }
        chain.last = number;
    }

    /// Takes the first frame off a chain.
    pub fn unchain(&mut self, chain: &mut Chain) -> Option<Frame> {
        let number = chain.first;
        if number == 0 {
            return None;
        }
        chain.first = self.table[number as usize].next;
        Some(Frame(u64::from(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::collections::BTreeMap;
    use std::vec;
    use std::vec::Vec;

    fn pager(frames: usize, first: u32, hole: (u32, u32)) -> Pager {
        Pager::new(Box::leak(vec![FrameEntry::default(); frames].into_boxed_slice()), first, hole)
    }

    const ME: Pid = Pid::new(1, 0);

    #[test]
    fn fresh_frames_skip_the_module() {
        let mut pager = pager(10, 4, (6, 8));
        let taken: Vec<u64> =
            core::iter::from_fn(|| pager.take(FrameKind::User, ME)).map(|(f, _)| f.0).collect();
        assert_eq!(taken, [4, 5, 8, 9]);
        assert_eq!(pager.free_frames(), 0);
    }

    #[test]
    fn an_empty_free_list_takes_the_oldest_of_the_quarantine() {
        let mut pager = pager(6, 4, (0, 0));
        let (a, _) = pager.take(FrameKind::User, ME).unwrap();
        let (b, _) = pager.take(FrameKind::User, ME).unwrap();
        pager.put(b, true);
        pager.put(a, true);
        assert_eq!(pager.take(FrameKind::User, ME), Some((b, Source::Early)));
        assert_eq!(pager.end_epoch(), 1);
        assert_eq!(pager.take(FrameKind::User, ME), Some((a, Source::FreeList)));
        assert_eq!(pager.take(FrameKind::User, ME), None);
    }

    proptest! {
        #[test]
        fn no_frame_is_ever_given_twice(steps in prop::collection::vec((0u8..4, 0usize..64), 0..300)) {
            let mut pager = pager(24, 4, (10, 12));
            let mut held: Vec<Frame> = Vec::new();
            let mut waiting: BTreeMap<u64, ()> = BTreeMap::new();
            for (what, pick) in steps {
                match what {
                    0 => match pager.take(FrameKind::User, ME) {
                        Some((frame, source)) => {
                            prop_assert!(!held.contains(&frame));
                            prop_assert!(frame.0 >= 4 && !(10..12).contains(&frame.0));
                            // Only an exhausted pager touches the quarantine.
                            prop_assert_eq!(waiting.remove(&frame.0).is_some(), source == Source::Early);
                            held.push(frame);
                        }
                        None => prop_assert_eq!(held.len(), 18),
                    },
                    1 | 2 if !held.is_empty() => {
                        let frame = held.swap_remove(pick % held.len());
                        pager.put(frame, what == 2);
                        if what == 2 {
                            waiting.insert(frame.0, ());
                        }
                    }
                    _ => {
                        prop_assert_eq!(pager.end_epoch() as usize, waiting.len());
                        waiting.clear();
                    }
                }
                prop_assert_eq!(pager.quarantined() as usize, waiting.len());
                prop_assert_eq!(pager.free_frames() as usize + waiting.len() + held.len(), 18);
            }
        }
    }
}
