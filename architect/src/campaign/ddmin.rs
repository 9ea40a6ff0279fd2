//! What is needed of many things: delta debugging, and the smallest number that does.
//!
//! The algorithm is ddmin of A. Zeller and R. Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE
//! Transactions on Software Engineering 28, 2002: first halves are left out, then quarters, down to single things. What
//! remains cannot lose any one of them.

/// The things without which `holds` would not hold, given that it does with all of `things`. An error of `holds` ends it.
pub fn ddmin<T: Clone, E>(things: &[T], mut holds: impl FnMut(&[T]) -> Result<bool, E>) -> Result<Vec<T>, E> {
    let mut kept = things.to_vec();
    // Not in the algorithm, which wants a failure to be simplified: perhaps nothing is needed at all.
    if kept.is_empty() || holds(&[])? {
        return Ok(Vec::new());
    }
    let mut parts = 2;
    'smaller: while kept.len() > 1 {
        let size = kept.len().div_ceil(parts);
        let starts = (0..kept.len()).step_by(size);
        // One part alone; then all but one. With two parts these are the same.
        for start in starts.clone() {
            let part = &kept[start..(start + size).min(kept.len())];
            if holds(part)? {
                kept = part.to_vec();
                parts = 2;
                continue 'smaller;
            }
        }
        if parts > 2 {
            for start in starts {
                let rest = [&kept[..start], &kept[(start + size).min(kept.len())..]].concat();
                if holds(&rest)? {
                    kept = rest;
                    parts = (parts - 1).max(2);
                    continue 'smaller;
                }
            }
        }
        if size == 1 {
            break;
        }
        parts = (2 * parts).min(kept.len());
    }
    Ok(kept)
}

/// A number from `from` to `to` with which `holds` holds, given that it does with `to`: `from` if it will do, else one whose
/// predecessor will not. Where it holds from some number on, that is the smallest.
pub fn smallest<E>(from: u64, to: u64, mut holds: impl FnMut(u64) -> Result<bool, E>) -> Result<u64, E> {
    if from >= to || holds(from)? {
        return Ok(from.min(to));
    }
    let (mut fails, mut works) = (from, to);
    while works - fails > 1 {
        let middle = fails + (works - fails) / 2;
        if holds(middle)? { works = middle } else { fails = middle }
    }
    Ok(works)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    fn minimal(things: u32, needed: impl Fn(&[u32]) -> bool) -> (Vec<u32>, usize) {
        let mut tests = 0;
        let all: Vec<_> = (0..things).collect();
        let kept = ddmin(&all, |part| {
            tests += 1;
            Ok::<_, Infallible>(needed(part))
        });
        (kept.unwrap_or_default(), tests)
    }

    #[test]
    fn two_of_twenty_are_found() {
        let (kept, tests) = minimal(20, |part| part.contains(&3) && part.contains(&17));
        assert_eq!(kept, [3, 17]);
        assert!(tests < 60, "{tests}");
    }

    #[test]
    fn nothing_is_left_where_nothing_is_needed_and_an_error_ends_it() {
        assert!(minimal(20, |_| true).0.is_empty());
        assert_eq!(ddmin(&[1, 2], |_| Err::<bool, _>("broken")), Err("broken"));
        assert_eq!(smallest(1, 9, |_| Err::<bool, _>("broken")), Err("broken"));
    }

    proptest! {
        #[test]
        fn exactly_what_is_needed_is_left(things in 1..40_u32, needed in prop::collection::btree_set(0..40_u32, 1..6)) {
            let needed: BTreeSet<_> = needed.into_iter().map(|thing| thing % things).collect();
            let (kept, _) = minimal(things, |part| needed.iter().all(|thing| part.contains(thing)));
            prop_assert!(kept.iter().eq(&needed));
        }

        /// Whatever it depends on: it holds with what is left, and with no single thing less.
        #[test]
        fn nothing_that_is_left_can_go(things in 1..12_u32, truth: u64) {
            let full = (1_u32 << things) - 1;
            // Any function of the set; it holds for all things, and not for none.
            let holds = |part: &[u32]| {
                let set = part.iter().fold(0, |set, thing| set | 1 << thing);
                set == full || set != 0 && (truth.rotate_left(set % 64) ^ u64::from(set)).count_ones() % 3 == 0
            };
            let (kept, _) = minimal(things, holds);
            prop_assert!(holds(&kept));
            for without in 0..kept.len() {
                let mut less = kept.clone();
                less.remove(without);
                prop_assert!(less.is_empty() || !holds(&less), "{:?} without {}", kept, kept[without]);
            }
        }

        #[test]
        fn the_smallest_number_that_does(from in 0..1000_u64, more in 0..1000_u64, enough in 0..2000_u64) {
            let to = from + more;
            let found = smallest(from, to, |number| Ok::<_, Infallible>(number >= enough.min(to)));
            prop_assert_eq!(found, Ok(enough.clamp(from, to)));
        }
    }
}
