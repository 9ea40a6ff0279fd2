//! The position in the file of each piece of guest-physical memory: the segments of a core, sorted and made
//! disjoint.
//!
//! Segments of real cores overlap: Linux's kdump and QEMU (with paging) list the kernel's image twice, once
//! for each of its virtual addresses. For an address in several segments, the first one in the file that has
//! bytes for it counts; zeros that are not in the file come last.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A range of memory: `start..end`, guest-physical.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// First address.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Offset of the first byte in the file; `None` for zeros that are not in the file.
    pub file: Option<u64>,
}

impl Piece {
    /// The difference between file offset and address, which is equal for pieces of one mapping.
    fn delta(&self) -> Option<u64> {
        self.file.map(|file| file.wrapping_sub(self.start))
    }

    /// Returns its part from `start` to `end`.
    fn part(&self, start: u64, end: u64) -> Self {
        Self { start, end, file: self.file.map(|file| file + (start - self.start)) }
    }
}

/// Returns disjoint pieces by rising address, with contiguous neighbours joined, and the number of given
/// pieces that overlap others with different contents. The earlier of two pieces in `given` wins, if it has
/// bytes in the file.
///
/// Takes O(n log n) time for n given pieces, however they overlap.
pub(super) fn arrange(given: &[Piece]) -> (Vec<Piece>, usize) {
    let mut by_start: Vec<usize> =
        (0..given.len()).filter(|&nth| given[nth].start < given[nth].end).collect();
    by_start.sort_by_key(|&nth| (given[nth].start, nth));
    let overlaps = count_overlaps(given, &by_start);

    let mut edges: Vec<u64> = by_start.iter().flat_map(|&nth| [given[nth].start, given[nth].end]).collect();
    edges.sort_unstable();
    edges.dedup();

    // Pieces that cover the current range, and some that have ended; the best is on top.
    let mut covering = BinaryHeap::new();
    let mut coming = by_start.into_iter().peekable();
    let mut pieces: Vec<Piece> = Vec::new();
    for edge in edges.windows(2) {
        let (from, to) = (edge[0], edge[1]);
        while let Some(nth) = coming.next_if(|&nth| given[nth].start == from) {
            covering.push(Reverse((given[nth].file.is_none(), nth)));
        }
        while covering.peek().is_some_and(|Reverse((_, nth))| given[*nth].end <= from) {
            covering.pop();
        }
        let Some(Reverse((_, nth))) = covering.peek() else { continue };
        let piece = given[*nth].part(from, to);
        match pieces.last_mut() {
            Some(last) if last.end == from && last.delta() == piece.delta() => last.end = to,
            _ => pieces.push(piece),
        }
    }
    (pieces, overlaps)
}

/// Returns how many pieces begin inside another one with a different position in the file.
fn count_overlaps(given: &[Piece], by_start: &[usize]) -> usize {
    let mut longest: Option<Piece> = None;
    let mut count = 0;
    for piece in by_start.iter().map(|&nth| given[nth]).filter(|piece| piece.file.is_some()) {
        let inside = longest.filter(|longest| piece.start < longest.end);
        count += usize::from(inside.is_some_and(|longest| longest.delta() != piece.delta()));
        if longest.is_none_or(|longest| longest.end < piece.end) {
            longest = Some(piece);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(start: u64, end: u64, file: impl Into<Option<u64>>) -> Piece {
        Piece { start, end, file: file.into() }
    }

    #[test]
    fn pieces_are_sorted_and_joined() {
        let given = [piece(20, 30, 120), piece(0, 10, 100), piece(10, 20, 110), piece(30, 40, 500)];
        assert_eq!(arrange(&given), (vec![piece(0, 30, 100), piece(30, 40, 500)], 0));
    }

    #[test]
    fn the_first_in_the_file_wins_and_zeros_lose() {
        let given = [piece(10, 20, 100), piece(0, 30, 500), piece(0, 40, None)];
        let expected = vec![piece(0, 10, 500), piece(10, 20, 100), piece(20, 30, 520), piece(30, 40, None)];
        assert_eq!(arrange(&given), (expected, 1));
    }

    #[test]
    fn the_same_bytes_twice_are_no_overlap() {
        assert_eq!(arrange(&[piece(0, 40, 100), piece(8, 16, 108)]), (vec![piece(0, 40, 100)], 0));
    }

    #[test]
    fn empty_pieces_are_nothing() {
        assert_eq!(arrange(&[piece(5, 5, 1), piece(9, 3, 1)]), (vec![], 0));
    }

    proptest! {
        /// Compares address by address with the rule as documented.
        #[test]
        fn every_address_is_told_by_the_best_piece(
            given in prop::collection::vec((0_u64..40, 0_u64..20, prop::option::of(100_u64..300)), 0..8)
        ) {
            let given: Vec<_> = given.into_iter().map(|(at, len, file)| piece(at, at + len, file)).collect();
            let (pieces, _) = arrange(&given);
            prop_assert!(pieces.windows(2).all(|pair| pair[0].end <= pair[1].start));
            for at in 0..64 {
                let of = |pieces: &[Piece]| {
                    let mut all: Vec<_> = pieces.iter().filter(|p| p.start <= at && at < p.end).collect();
                    all.sort_by_key(|p| p.file.is_none());
                    all.first().map(|p| p.file.map(|file| file + (at - p.start)))
                };
                prop_assert_eq!(of(&pieces), of(&given));
            }
        }
    }
}
