//! What is drawn, and from what: every choice that a fault leaves open comes from the seed, the number of the run and the
//! fault's place in its scenario, and from nothing else.
//!
//! The generator is the output of BLAKE3 as a stream: of the 24 bytes seed, run and place (each 64 bits, little-endian) in
//! the mode "derive key" with the purpose as its context. Words of 64 bits are taken from it in order. A number below n is
//! a word modulo n, words of the incomplete last round thrown away, so that each has the same chance.

use blake3::{Hasher, OutputReader};

/// A stream of choices.
#[derive(Clone, Debug)]
pub struct Stream {
    words: OutputReader,
}

impl Stream {
    /// Choices among what a scenario allows for its keys.
    const KEYS: &str = "architect 2026 faults: keys";
    /// Choices among what is there when the fault acts.
    const LIVE: &str = "architect 2026 faults: live state";

    /// For the keys of the fault at this place of its scenario.
    pub fn of_keys(seed: u64, run: u64, place: u64) -> Self {
        Self::new(Self::KEYS, &[seed, run, place])
    }

    /// The number that stands for all choices among the live state: key `draw` of a resolved fault. Never above 2^63.
    pub fn live_seed(seed: u64, run: u64, place: u64) -> u64 {
        Self::new(Self::LIVE, &[seed, run, place]).word() >> 1
    }

    /// For choices among the live state.
    pub fn live(draw: u64) -> Self {
        Self::new(Self::LIVE, &[draw])
    }

    fn new(purpose: &str, from: &[u64]) -> Self {
        let mut hasher = Hasher::new_derive_key(purpose);
        for number in from {
            hasher.update(&number.to_le_bytes());
        }
        Self { words: hasher.finalize_xof() }
    }

    fn word(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.words.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `n`; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n < 2 {
            return 0;
        }
        // The words from here on would make the small numbers likelier.
        let fair = u64::MAX - (u64::MAX % n + 1) % n;
        loop {
            let word = self.word();
            if word <= fair {
                return word % n;
            }
        }
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        match to.saturating_sub(from).checked_add(1) {
            Some(n) => from + self.below(n),
            None => self.word(),
        }
    }

    /// One of these; `None` of none.
    pub fn one_of<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }

    /// Whether something of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        // 53 bits are all that a number of this type has.
        ((self.word() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// So many different bits out of `width`, as a mask.
    pub fn bits(&mut self, count: u32, width: u32) -> u64 {
        let mut mask = 0_u64;
        while mask.count_ones() < count.min(width).min(64) {
            mask |= 1 << self.below(width.into());
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_generator_is_what_its_documentation_says() {
        let mut hasher = Hasher::new_derive_key("architect 2026 faults: keys");
        hasher.update(&[7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        let words: Vec<_> =
            bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()) % 1000).collect();
        let mut stream = Stream::of_keys(7, 1, 2);
        assert_eq!([stream.below(1000), stream.below(1000)], words[..]);
    }

    #[test]
    fn seed_run_and_place_each_make_another_stream() {
        let first = |seed, run, place| Stream::of_keys(seed, run, place).below(u64::MAX);
        let all = [first(1, 0, 0), first(0, 1, 0), first(0, 0, 1), first(0, 0, 0)];
        for (nth, one) in all.iter().enumerate() {
            assert!(!all[..nth].contains(one));
        }
        assert_eq!(first(1, 0, 0), all[0]);
    }

    #[test]
    fn a_probability_is_one() {
        let mut stream = Stream::live(3);
        let often = (0..10_000).filter(|_| stream.happens(0.3)).count();
        assert!((2800..3200).contains(&often), "{often}");
        assert!((0..1000).all(|_| stream.happens(1.0)) && !(0..1000).any(|_| stream.happens(0.0)));
    }

    proptest! {
        #[test]
        fn numbers_stay_in_their_range(draw: u64, from: u64, more: u64, n: u64, count in 0_u32..70) {
            let mut stream = Stream::live(draw);
            let to = from.saturating_add(more);
            prop_assert!((from..=to).contains(&stream.between(from, to)));
            prop_assert!(stream.below(n) < n.max(1));
            prop_assert_eq!(stream.bits(count, 8).count_ones(), count.min(8));
            prop_assert!(stream.bits(count, 8) < 256);
        }
    }
}
