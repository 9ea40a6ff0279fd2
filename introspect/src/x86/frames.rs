//! A value for each frame, kept in pages of 512 values by frame number, as page tables are. It grows with the
//! number of frames in use, not with the highest one, and iterates over frames in rising order.

use std::collections::BTreeMap;

use address::Frame;

const FANOUT: usize = 512;

/// Pages indexed by their number: those of the lowest 512 GiB. Nearly all frames are there, and a lookup
/// takes two steps.
const NEAR: usize = 1 << 18;

/// Maps each frame to a value; the default where none was set.
#[derive(Clone, Debug)]
pub(crate) struct FrameMap<T> {
    /// For each page number, the index in `pages`. Index 0 stands for pages that do not exist.
    near: Vec<u32>,
    /// The same for higher page numbers.
    far: BTreeMap<u64, u32>,
    pages: Vec<[T; FANOUT]>,
}

impl<T: Copy + Default> Default for FrameMap<T> {
    fn default() -> Self {
        Self { near: Vec::new(), far: BTreeMap::new(), pages: vec![[T::default(); FANOUT]] }
    }
}

impl<T: Copy + Default> FrameMap<T> {
    /// Returns the index of the frame's page, and of its value in that page.
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

    /// Returns a mutable reference to the frame's value.
    #[inline]
    pub(crate) fn get_mut(&mut self, frame: Frame) -> &mut T {
        let (mut page, nth) = self.place(frame);
        if page == 0 {
            page = self.add_page(frame.0 / FANOUT as u64);
        }
        &mut self.pages[page][nth]
    }

    /// Creates the page with this number.
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

    /// Sets all values to the default and keeps the memory.
    pub(crate) fn reset(&mut self) {
        self.pages.iter_mut().for_each(|page| page.fill(T::default()));
    }

    /// Returns the values of all frames that were ever set, by rising frame, with default values in between.
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
