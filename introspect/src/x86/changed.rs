//! The frames that may have been written since the last reading: the union of the dirty logs of all writers.
//! It only saves work: it may name too many frames, and must not name too few.

use address::{Frame, GuestPhys, PAGE_SIZE};

/// A set of frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Anything may have been written.
    all: bool,
    /// A bit for each frame, from frame 0 on.
    words: Vec<u64>,
}

impl Changed {
    /// Frames from this number on (256 GiB) are not kept one by one: a change there counts as a change of
    /// everything.
    const MOST: u64 = 1 << 26;

    /// Returns the empty set: nothing was written.
    pub const fn nothing() -> Self {
        Self { all: false, words: Vec::new() }
    }

    /// Returns the set of all frames: there is no log, so anything may have been written.
    pub const fn everything() -> Self {
        Self { all: true, words: Vec::new() }
    }

    /// Empties the set and keeps its memory.
    pub fn clear(&mut self) {
        self.all = false;
        self.words.clear();
    }

    /// Adds all frames: anything may have been written.
    pub fn add_everything(&mut self) {
        self.all = true;
    }

    /// Adds a frame.
    pub fn add(&mut self, frame: Frame) {
        self.add_words(Frame(frame.0 / 64 * 64), &[1 << (frame.0 % 64)]);
    }

    /// Adds a bitmap of 64 frames per word. Its first bit is `first`, a multiple of 64. This is the format of
    /// `KVM_GET_DIRTY_LOG`.
    pub fn add_words(&mut self, first: Frame, words: &[u64]) {
        let Some(used) = words.iter().rposition(|word| *word != 0) else { return };
        if first.0.saturating_add(64 * (used as u64 + 1)) > Self::MOST || !first.0.is_multiple_of(64) {
            self.all = true;
            return;
        }
        let start = (first.0 / 64) as usize;
        if self.words.len() <= start + used {
            self.words.resize(start + used + 1, 0);
        }
        for (all, word) in self.words[start..].iter_mut().zip(&words[..=used]) {
            *all |= word;
        }
    }

    /// Returns whether the set is that of all frames.
    pub const fn is_everything(&self) -> bool {
        self.all
    }

    /// Whether this frame may have been written.
    pub fn has(&self, frame: Frame) -> bool {
        self.all
            || self.words.get((frame.0 / 64) as usize).is_some_and(|word| word >> (frame.0 % 64) & 1 != 0)
    }

    /// Returns whether a frame may be in both sets.
    pub fn meets(&self, other: &Self) -> bool {
        self.all || other.all || self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// Whether any of these bytes may have been written.
    pub fn touches(&self, at: GuestPhys, bytes: u64) -> bool {
        self.frames_of(at, bytes).any(|frame| self.has(frame))
    }

    /// The frames of these bytes that may have been written.
    pub fn within(&self, at: GuestPhys, bytes: u64) -> impl Iterator<Item = Frame> {
        self.frames_of(at, bytes).filter(|frame| self.has(*frame))
    }

    fn frames_of(&self, at: GuestPhys, bytes: u64) -> impl Iterator<Item = Frame> + use<> {
        let end = at.add(bytes).0.div_ceil(PAGE_SIZE);
        // Beyond the last word no frame is set, unless all are.
        let known = if self.all { u64::MAX } else { self.words.len() as u64 * 64 };
        (at.frame().0..end.min(known)).map(Frame)
    }

    /// Returns the frames that were written, by rising number. Meaningless if [`Self::is_everything`].
    pub fn frames(&self) -> impl Iterator<Item = Frame> {
        self.words.iter().zip(0..).filter(|(word, _)| **word != 0).flat_map(|(&word, nth)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(Frame(nth * 64 + u64::from(bit)))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(added: Vec<u16>, at in 0..1u64 << 28, bytes in 0..20_000u64) {
            let mut changed = Changed::nothing();
            let model: BTreeSet<_> = added.iter().map(|frame| u64::from(*frame)).collect();
            added.iter().for_each(|frame| changed.add(Frame(u64::from(*frame))));
            prop_assert!(changed.frames().map(|frame| frame.0).eq(model.iter().copied()));
            let touched = |frame: &&u64| **frame * 4096 < at + bytes && (**frame + 1) * 4096 > at;
            let within: Vec<_> = model.iter().filter(touched).copied().collect();
            if bytes > 0 {
                prop_assert_eq!(changed.touches(GuestPhys(at), bytes), !within.is_empty());
                prop_assert!(changed.within(GuestPhys(at), bytes).map(|frame| frame.0).eq(within.iter().copied()));
            }
            let mut other = Changed::nothing();
            within.iter().for_each(|frame| other.add(Frame(*frame)));
            prop_assert_eq!((changed.meets(&other), other.meets(&changed)), (!within.is_empty(), !within.is_empty()));
            let mut before = Changed::nothing();
            std::mem::swap(&mut before, &mut changed);
            before.clear();
            prop_assert_eq!(before.frames().count(), 0);
            prop_assert_eq!(before, Changed::nothing());
        }
    }

    #[test]
    fn what_cannot_be_told_apart_counts_as_everything() {
        let mut changed = Changed::nothing();
        changed.add_words(Frame(1 << 40), &[0, 0]);
        assert!(!changed.is_everything());
        changed.add(Frame(u64::MAX));
        assert!(changed.is_everything() && changed.has(Frame(7)) && changed.touches(GuestPhys(0), 1));
        assert_eq!(Changed::everything().within(GuestPhys(0x1800), 0x1000).count(), 2);
    }
}
