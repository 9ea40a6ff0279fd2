//! What the factors of a sweep do to a rate: main effects, and the interactions of two.
//!
//! A *main effect* is by how much the rate differs between a factor's level and its first one, averaged over all
//! combinations of the other factors. An *interaction* is by how much one factor's effect differs between another's level
//! and its first one, averaged likewise. Both are sums of the cells' rates with weights, for which R. M. Price and D. G.
//! Bonett give the interval ("An improved confidence interval for a linear function of binomial proportions",
//! Computational Statistics & Data Analysis 45, 2004): it adds a little to each cell, so that cells in which all runs
//! agree are not taken to be certain.

use crate::campaign::identity::Levels;
use crate::campaign::stats::interval::{Interval, Z};

/// How often something was seen in a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// In how many runs.
    pub of: u64,
}

impl Seen {
    /// The rate; 0 without a run.
    pub fn rate(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.count as f64 / self.of as f64 }
    }
}

/// A change of a factor from its first level to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The factor.
    pub factor: String,
    /// Its first level.
    pub from: String,
    /// The other one.
    pub to: String,
}

/// What one change, or two together, do.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// One change for a main effect, two for an interaction.
    pub changes: Vec<Change>,
    /// The difference of rates: from -1 to 1, for an interaction from -2 to 2.
    pub estimate: f64,
    /// Its interval.
    pub interval: Interval,
}

impl Effect {
    /// Whether its interval leaves 0 out.
    pub fn is_clear(&self) -> bool {
        !self.interval.has(0.0)
    }
}

/// All main effects, then all interactions of two, of a full factorial: each cell has its levels, in the order of the
/// factors, and what was seen there. Nothing if a cell has no runs.
pub fn effects(factors: &[String], cells: &[(Levels, Seen)]) -> Vec<Effect> {
    if cells.iter().any(|(levels, seen)| seen.of == 0 || levels.len() != factors.len()) {
        return Vec::new();
    }
    let changes: Vec<(usize, Change)> =
        factors.iter().enumerate().flat_map(|(at, factor)| changes(at, factor, cells)).collect();
    let main = changes.iter().map(|change| of(std::slice::from_ref(change), cells));
    let pairs = changes.iter().enumerate().flat_map(|(nth, one)| {
        let others = changes[nth + 1..].iter().filter(|other| other.0 != one.0);
        others.map(|other| of(&[one.clone(), other.clone()], cells))
    });
    main.chain(pairs).collect()
}

/// The changes from a factor's first level, which is that of the first cell, to each other.
fn changes(at: usize, factor: &str, cells: &[(Levels, Seen)]) -> Vec<(usize, Change)> {
    let mut levels: Vec<&str> = Vec::new();
    for (of, _) in cells {
        if !levels.contains(&of[at].as_str()) {
            levels.push(&of[at]);
        }
    }
    let Some((from, others)) = levels.split_first() else { return Vec::new() };
    let change = |to: &&str| {
        (at, Change { factor: factor.to_owned(), from: (*from).to_owned(), to: (*to).to_owned() })
    };
    others.iter().map(change).collect()
}

fn of(changes: &[(usize, Change)], cells: &[(Levels, Seen)]) -> Effect {
    // A cell counts with the product of the signs of the levels that it has; without one of them, not at all.
    let sign = |levels: &Levels| -> f64 {
        let signs = changes.iter().map(|(at, change)| match levels[*at].as_str() {
            level if level == change.to => 1.0,
            level if level == change.from => -1.0,
            _ => 0.0,
        });
        signs.product()
    };
    let signed: Vec<(f64, Seen)> =
        cells.iter().map(|(levels, seen)| (sign(levels), *seen)).filter(|(sign, _)| *sign != 0.0).collect();
    let used = signed.len() as f64;
    // Each group of cells with the same levels of these factors is averaged; there are 2 or 4 of equal size.
    let weight = f64::from(1 << changes.len()) / used;
    let estimate = signed.iter().map(|(sign, seen)| sign * weight * seen.rate()).sum();
    let (mut centre, mut variance) = (0.0, 0.0);
    for (sign, seen) in &signed {
        let of = seen.of as f64 + 4.0 / used;
        let rate = (seen.count as f64 + 2.0 / used) / of;
        centre += sign * weight * rate;
        variance += weight * weight * rate * (1.0 - rate) / of;
    }
    let half = Z * variance.sqrt();
    let most = changes.len() as f64;
    let interval = Interval { low: (centre - half).max(-most), high: (centre + half).min(most) };
    Effect { changes: changes.iter().map(|(_, change)| change.clone()).collect(), estimate, interval }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Cells of two factors with two levels each, `count` of 100 in each: (no, no), (no, yes), (yes, no), (yes, yes).
    fn two_by_two(counts: [u64; 4]) -> Vec<(Levels, Seen)> {
        let levels = [["no", "no"], ["no", "yes"], ["yes", "no"], ["yes", "yes"]];
        levels.iter().zip(counts).map(|(levels, count)| (names(levels), Seen { count, of: 100 })).collect()
    }

    #[test]
    fn effects_of_two_factors_by_hand() {
        let all = effects(&names(&["a", "b"]), &two_by_two([80, 60, 20, 10]));
        let told: Vec<_> =
            all.iter().map(|effect| (effect.changes.len(), (effect.estimate * 100.0).round())).collect();
        // a: (20 + 10 - 80 - 60) / 2; b: (60 + 10 - 80 - 20) / 2; with b, a does -50 instead of -60.
        assert_eq!(told, [(1, -55.0), (1, -15.0), (2, 10.0)]);
        assert!(all[0].is_clear() && all[1].is_clear() && !all[2].is_clear());
        // Wald's interval of a is 0.5 * 1.96 * sqrt((0.16 + 0.24 + 0.16 + 0.09) / 100) = 0.079 to either side.
        assert!((all[0].interval.half() - 0.079).abs() < 0.002, "{:?}", all[0]);
    }

    #[test]
    fn each_level_is_held_against_the_first() {
        let cells: Vec<_> = [("20", 0), ("40", 30), ("60", 90)]
            .map(|(level, count)| (names(&[level]), Seen { count, of: 100 }))
            .into();
        let all = effects(&names(&["people"]), &cells);
        let told: Vec<_> =
            all.iter().map(|effect| (effect.changes[0].to.as_str(), effect.estimate)).collect();
        assert_eq!(told, [("40", 0.3), ("60", 0.9)]);
    }

    #[test]
    fn cells_that_agree_are_not_taken_to_be_certain_and_empty_ones_tell_nothing() {
        let all = effects(&names(&["a", "b"]), &two_by_two([100, 100, 0, 0]));
        assert!(all[0].estimate == -1.0 && all[0].interval.high > -1.0, "{:?}", all[0]);
        let mut cells = two_by_two([1; 4]);
        cells[2].1 = Seen::default();
        assert!(effects(&names(&["a", "b"]), &cells).is_empty());
    }

    proptest! {
        #[test]
        fn an_interval_has_its_estimate(counts: [u8; 4]) {
            let counts = counts.map(|count| u64::from(count) % 101);
            for effect in effects(&names(&["a", "b"]), &two_by_two(counts)) {
                prop_assert!(effect.interval.has(effect.estimate), "{:?}", effect);
            }
        }

        /// Where the second factor does nothing, its effects are 0 and the first one's is the plain difference.
        #[test]
        fn a_factor_that_does_nothing_has_no_effect(no in 0..=100_u64, yes in 0..=100_u64) {
            let all = effects(&names(&["a", "b"]), &two_by_two([no, no, yes, yes]));
            let difference = (yes as f64 - no as f64) / 100.0;
            prop_assert!((all[0].estimate - difference).abs() < 1e-9);
            prop_assert!(all[1].estimate.abs() < 1e-9 && all[2].estimate.abs() < 1e-9);
            prop_assert!(!all[1].is_clear() && !all[2].is_clear());
        }
    }
}
