//! A value for each frame: a tree of three levels by the digits of the frame's number, as page tables have them. So it
//! grows with the frames that are used and not with the highest one, lookups take three steps, and going through it
//! gives the frames in rising order.

use abi::Frame;

const FANOUT: usize = 512;

/// For each frame a value, the default one where none was set. `T`'s are kept in pages of 512. The first directory and the
/// first page stand for all that there are not, so that looking up a frame asks nothing on its way.
#[derive(Clone, Debug)]
pub(crate) struct FrameMap<T> {
    /// By the frame's upper bits: number of a directory.
    top: Vec<u32>,
    /// By the middle nine bits: number of a page.
    directories: Vec<[u32; FANOUT]>,
    pages: Vec<[T; FANOUT]>,
}

impl<T: Copy + Default> Default for FrameMap<T> {
    fn default() -> Self {
        Self { top: Vec::new(), directories: vec![[0; FANOUT]], pages: vec![[T::default(); FANOUT]] }
    }
}

fn split(frame: Frame) -> (usize, usize, usize) {
    let digit = |shift: u32| (frame.0 >> shift) as usize % FANOUT;
    ((frame.0 >> 18) as usize, digit(9), digit(0))
}

impl<T: Copy + Default> FrameMap<T> {
    /// The page that has the frame's value, and the value's place in it.
    #[inline]
    fn place(&self, frame: Frame) -> (usize, usize) {
        let (top, middle, low) = split(frame);
        let directory = self.top.get(top).copied().unwrap_or(0);
        (self.directories[directory as usize][middle] as usize, low)
    }

    /// The frame's value.
    #[inline]
    pub(crate) fn get(&self, frame: Frame) -> T {
        let (page, low) = self.place(frame);
        self.pages[page][low]
    }

    /// The frame's value, to be changed. Frames have at most 40 bits: see [`crate::paging::bits::ADDRESS`].
    #[inline]
    pub(crate) fn get_mut(&mut self, frame: Frame) -> &mut T {
        let (mut page, low) = self.place(frame);
        if page == 0 {
            page = self.add_page(frame);
        }
        &mut self.pages[page][low]
    }

    /// Makes the page that the frame's value is to be in.
    #[cold]
    fn add_page(&mut self, frame: Frame) -> usize {
        let (top, middle, _) = split(frame);
        if top >= self.top.len() {
            self.top.resize(top + 1, 0);
        }
        if self.top[top] == 0 {
            self.top[top] = self.directories.len() as u32;
            self.directories.push([0; FANOUT]);
        }
        let page = self.pages.len();
        self.pages.push([T::default(); FANOUT]);
        self.directories[self.top[top] as usize][middle] = page as u32;
        page
    }

    /// All values become the default one; the memory is kept.
    pub(crate) fn reset(&mut self) {
        self.pages.iter_mut().for_each(|page| page.fill(T::default()));
    }

    fn page_numbers(&self) -> impl Iterator<Item = usize> {
        let directories = self.top.iter().filter(|number| **number != 0);
        let pages = directories.flat_map(|number| &self.directories[*number as usize]);
        pages.filter(|number| **number != 0).map(|number| *number as usize)
    }

    /// The values of all frames that ever had one, by rising frame, among default ones.
    pub(crate) fn values(&self) -> impl Iterator<Item = T> {
        self.page_numbers().flat_map(|page| &self.pages[page]).copied()
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
                let frame = top << 25 | middle << 17 | low;
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
