//! A value for each frame, kept in pages of 512 by the frame's number, as page tables keep theirs. So it grows with the
//! frames that are used and not with the highest one, and going through it gives the frames in rising order.

use std::collections::BTreeMap;

use address::Frame;

const FANOUT: usize = 512;

/// Pages that are found by their number: those of 512 GiB. Nearly all frames are there, and looking one up takes two steps.
const NEAR: usize = 1 << 18;

/// For each frame a value, the default one where none was set.
#[derive(Clone, Debug)]
pub(crate) struct FrameMap<T> {
    /// For each number of a page where it is in `pages`. The first one there stands for those that there are not.
    near: Vec<u32>,
    /// The same beyond those.
    far: BTreeMap<u64, u32>,
    pages: Vec<[T; FANOUT]>,
}

impl<T: Copy + Default> Default for FrameMap<T> {
    fn default() -> Self {
        Self { near: Vec::new(), far: BTreeMap::new(), pages: vec![[T::default(); FANOUT]] }
    }
}

impl<T: Copy + Default> FrameMap<T> {
    /// Where the page that has the frame's value is, and the value's place in it.
    #[inline]
    fn place(&self, frame: Frame) -> (usize, usize) {
        let number = frame.0 / FANOUT as u64;
        let page = match self.near.get(number as usize) {
            Some(page) => *page,
            None => self.far.get(&number).copied().unwrap_or(0),
        };
        (page as usize, frame.0 as usize % FANOUT)
    }

    /// The frame's value.
    #[inline]
    pub(crate) fn get(&self, frame: Frame) -> T {
        let (page, nth) = self.place(frame);
        self.pages[page][nth]
    }

    /// The frame's value, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, frame: Frame) -> &mut T {
        let (mut page, nth) = self.place(frame);
        if page == 0 {
            page = self.add_page(frame.0 / FANOUT as u64);
        }
        &mut self.pages[page][nth]
    }

    /// Makes the page with this number.
    #[cold]
    fn add_page(&mut self, number: u64) -> usize {
        let page = self.pages.len();
        self.pages.push([T::default(); FANOUT]);
        match usize::try_from(number) {
            Ok(number) if number < NEAR => {
                self.near.resize(self.near.len().max(number + 1), 0);
                self.near[number] = page as u32;
            }
            _ => {
                self.far.insert(number, page as u32);
            }
        }
        page
    }

    /// All values become the default one; the memory is kept.
    pub(crate) fn reset(&mut self) {
        self.pages.iter_mut().for_each(|page| page.fill(T::default()));
    }

    /// The values of all frames that ever had one, by rising frame, among default ones.
    pub(crate) fn values(&self) -> impl Iterator<Item = T> {
        let places = self.near.iter().chain(self.far.values()).filter(|page| **page != 0);
        places.flat_map(|page| &self.pages[*page as usize]).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map_in_rising_order(
            changes in prop::collection::vec((0..4u64, 0..3u64, 0..600u64, 1..u32::MAX), 0..50)
        ) {
            let (mut map, mut model) = (FrameMap::default(), BTreeMap::new());
            for (top, middle, low, value) in changes {
                let frame = top << 26 | middle << 17 | low;
                prop_assert_eq!(map.get(Frame(frame)), model.get(&frame).copied().unwrap_or(0));
                *map.get_mut(Frame(frame)) = value;
                model.insert(frame, value);
            }
            let used = |map: &FrameMap<u32>| map.values().filter(|value| *value != 0).collect::<Vec<_>>();
            prop_assert_eq!(used(&map), model.values().copied().collect::<Vec<_>>());
            map.reset();
            prop_assert_eq!(used(&map), []);
        }
    }
}
