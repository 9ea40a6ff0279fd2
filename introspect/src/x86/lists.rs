//! Many short lists in one vector: the mappings of a frame, the entries of a table. A list that outgrows its
//! room moves to the end and leaves its old place unused. The owner of the lists rebuilds them when too much
//! is unused.

/// The position of a list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: u32,
    len: u32,
    /// Capacity: a longer list must move.
    room: u32,
}

impl Span {
    /// Announces one more item; see [`Lists::begin`].
    #[inline]
    pub(crate) const fn count(&mut self) {
        self.room += 1;
    }

    /// Returns the place of the list's next item, once all items are counted. For the first item, reserves
    /// the list's room at `end`, the end of the room reserved so far.
    #[inline]
    pub(crate) const fn take_place(&mut self, end: &mut u32) -> usize {
        if self.len == 0 {
            self.start = *end;
            *end += self.room;
        }
        self.len += 1;
        (self.start + self.len - 1) as usize
    }

    #[inline]
    pub(crate) const fn len(self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(crate) const fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Lists of `T`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists<T> {
    items: Vec<T>,
    /// Items that belong to no list.
    unused: usize,
}

impl<T: Copy + Default> Lists<T> {
    /// Largest number of items, unused ones included.
    pub(crate) const MOST: u64 = 1 << 31;

    /// Removes all lists.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.unused = 0;
    }

    /// Returns whether a rebuild pays, because much is unused or there is hardly any room left.
    pub(crate) fn is_worn(&self) -> bool {
        self.unused > self.items.len() / 2 + 4096 || self.items.len() as u64 > Self::MOST
    }

    pub(crate) fn items_mut(&mut self) -> &mut [T] {
        &mut self.items
    }

    #[inline]
    pub(crate) fn get(&self, span: Span) -> &[T] {
        &self.items[span.start as usize..][..span.len as usize]
    }

    /// Returns one item of a list.
    #[inline]
    pub(crate) fn item(&self, span: Span, nth: usize) -> T {
        self.get(span)[nth]
    }

    /// Starts over with this many items, in lists that the caller has counted. The caller fills each place.
    pub(crate) fn begin(&mut self, items: usize) -> &mut [T] {
        // The old items need no clearing: the caller overwrites all of them.
        self.items.resize(items, T::default());
        self.unused = 0;
        &mut self.items
    }

    /// Adds a list of the items that `append` appends.
    pub(crate) fn append<E>(&mut self, append: impl FnOnce(&mut Vec<T>) -> Result<(), E>) -> Result<Span, E> {
        let start = self.items.len();
        append(&mut self.items)?;
        Ok(self.since(start))
    }

    /// Returns the list of all items from index `start` on.
    #[inline]
    fn since(&self, start: usize) -> Span {
        let len = (self.items.len() - start) as u32;
        Span { start: start as u32, len, room: len }
    }

    /// Adds a list.
    pub(crate) fn add(&mut self, items: &[T]) -> Span {
        let start = self.items.len();
        self.items.extend_from_slice(items);
        self.since(start)
    }

    /// Adds a list of `count` equal items.
    pub(crate) fn add_many(&mut self, count: usize, item: T) -> Span {
        let start = self.items.len();
        self.items.resize(start + count, item);
        self.since(start)
    }

    /// Replaces the items of a list.
    pub(crate) fn set(&mut self, span: &mut Span, items: &[T]) {
        if items.len() > span.room as usize {
            self.remove(*span);
            *span = self.add(items);
            // Room for the next additions.
            let room = span.room / 2 + 2;
            self.items.resize(self.items.len() + room as usize, T::default());
            span.room += room;
        } else {
            self.items[span.start as usize..][..items.len()].copy_from_slice(items);
            span.len = items.len() as u32;
        }
    }

    /// Replaces one item of a list.
    pub(crate) fn replace(&mut self, span: Span, nth: usize, item: T) {
        self.items[span.start as usize + nth] = item;
    }

    /// Removes a list.
    pub(crate) fn remove(&mut self, span: Span) {
        self.unused += span.room as usize;
    }

    // The functions below move items one place at a time. One overlapping copy (`memmove`) is several times
    // slower with C libraries such as musl.

    pub(crate) fn insert_item(&mut self, span: &mut Span, at: usize, mut item: T) {
        let (start, len) = (span.start as usize, span.len as usize);
        if span.len == span.room {
            let end = self.items.len();
            let room = span.room + span.room / 2 + 2;
            self.items.resize(end + room as usize, T::default());
            self.items.copy_within(start..start + len, end);
            self.remove(*span);
            *span = Span { start: end as u32, len: span.len, room };
        }
        for place in &mut self.items[span.start as usize..][at..=len] {
            std::mem::swap(place, &mut item);
        }
        span.len += 1;
    }

    pub(crate) fn remove_item(&mut self, span: &mut Span, at: usize) {
        let list = &mut self.items[span.start as usize..][..span.len as usize];
        let mut item = T::default();
        for place in list[at..].iter_mut().rev() {
            std::mem::swap(place, &mut item);
        }
        span.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_are_as_vectors_are(
            changes in prop::collection::vec((0..6usize, 0..5u8, any::<prop::sample::Index>(), any::<u16>()), 0..200)
        ) {
            let mut lists = Lists::default();
            let mut spans = [Span::default(); 6];
            let mut model: [Vec<u16>; 6] = Default::default();
            for (list, what, at, value) in changes {
                let (span, vector) = (&mut spans[list], &mut model[list]);
                match what {
                    0 => {
                        vector.resize(at.index(20), value);
                        lists.set(span, vector);
                    }
                    1 if !vector.is_empty() => {
                        let at = at.index(vector.len());
                        vector.remove(at);
                        lists.remove_item(span, at);
                    }
                    _ => {
                        let at = at.index(vector.len() + 1);
                        vector.insert(at, value);
                        lists.insert_item(span, at, value);
                    }
                }
                for (span, vector) in spans.iter().zip(&model) {
                    prop_assert_eq!(lists.get(*span), &vector[..]);
                }
            }
            let live: usize = spans.iter().map(|span| span.room as usize).sum();
            prop_assert_eq!(lists.items.len() - lists.unused, live);
        }
    }

    #[test]
    fn items_that_were_counted_are_lists_in_their_order() {
        let mut lists = Lists::default();
        let (mut spans, items) = ([Span::default(); 3], [(2, 'a'), (0, 'b'), (2, 'c'), (2, 'd')]);
        items.iter().for_each(|(list, _)| spans[*list].count());
        let (places, mut end) = (lists.begin(items.len()), 0);
        items.iter().for_each(|(list, item)| places[spans[*list].take_place(&mut end)] = *item);
        assert_eq!(end, 4);
        let of = |list: usize| lists.get(spans[list]);
        assert_eq!((of(0), of(1), of(2)), (&['b'][..], &[][..], &['a', 'c', 'd'][..]));
        assert!(spans[1].is_empty() && !spans[0].is_empty() && !lists.is_worn());
    }
}
