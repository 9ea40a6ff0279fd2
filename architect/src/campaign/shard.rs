//! Shards: disjoint parts of a campaign that together are all of it, for as many machines or jobs.

use std::fmt;
use std::str::FromStr;

/// One of `of` parts: the runs whose number leaves `part` as remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 0.
    part: u64,
    /// Of how many.
    of: u64,
}

impl Shard {
    /// Everything.
    pub const WHOLE: Self = Self { part: 0, of: 1 };

    /// Whether a run is in this part.
    pub fn has(self, run: u64) -> bool {
        run % self.of == self.part
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Job arrays count from 0 or from 1, so both will do: `N/N` is `0/N`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write I/N, with N from 1 on and I from 0 to N, as in 2/4".to_owned();
        let (part, of) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| match text.parse::<u64>() {
            Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
            _ => Err(wrong()),
        };
        let (part, of) = (number(part)?, number(of)?);
        if of == 0 || part > of { Err(wrong()) } else { Ok(Self { part: part % of, of }) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counting_from_0_and_from_1_both_cover_everything() {
        let shard = |text: &str| text.parse::<Shard>().unwrap();
        assert_eq!(shard("4/4"), shard("0/4"));
        assert_eq!(shard("1/1"), Shard::WHOLE);
        assert_eq!(shard("1/4").to_string(), "1/4");
        for wrong in ["", "1", "1/0", "5/4", "-1/4", "+1/4", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_run_is_in_exactly_one_shard(run: u64, of in 1..100_u64, from in 0..2_u64) {
            let shards = (from..from + of).map(|part| format!("{part}/{of}").parse::<Shard>().unwrap());
            prop_assert_eq!(shards.filter(|shard| shard.has(run)).count(), 1);
        }
    }
}
