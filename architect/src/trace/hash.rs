//! The hash of an event stream, and marks along the way: the hash at regular distances, counted in records. The marks
//! alone tell about where another stream departs from this one.
//!
//! Addresses of instructions are not hashed: they depend on the compiler, and the same events must give the same hash
//! whatever built the image.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use abi::trace::{Kind, Record, Show};
use blake3::Hasher;
use zerocopy::IntoBytes;

/// The hash of a stream: BLAKE3 over the 32 bytes of each record, in order, with 0 in place of code addresses.
#[derive(Clone, Debug)]
pub struct TraceHash {
    hash: Hasher,
    count: u64,
    marks: Marks,
}

impl Default for TraceHash {
    fn default() -> Self {
        Self { hash: Hasher::new(), count: 0, marks: Marks { every: 1, values: Vec::new() } }
    }
}

impl TraceHash {
    /// Takes the next record.
    pub fn push(&mut self, record: &Record) {
        self.hash.update(without_code_addresses(record).as_bytes());
        self.count += 1;
        if !self.count.is_multiple_of(self.marks.every) {
            return;
        }
        let [a, b, c, d, ..] = *self.hash.finalize().as_bytes();
        self.marks.values.push(u32::from_be_bytes([a, b, c, d]));
        if self.marks.values.len() == Marks::MOST {
            self.marks = self.marks.every(self.marks.every * 2);
        }
    }

    /// The hash of all records, as text, and the marks.
    pub fn finish(self) -> (String, Marks) {
        (self.hash.finalize().to_hex().to_string(), self.marks)
    }
}

/// The record with 0 in place of each address of an instruction.
fn without_code_addresses(record: &Record) -> Record {
    let mut rest = *record;
    let Some(kind) = Kind::from_raw(record.kind) else { return rest };
    let [a, b, c] = kind.fields().map(|field| matches!(field, Show::Code(_)));
    if a {
        rest.a = 0;
    }
    if b {
        // A fault of an instruction fetch names the same address twice.
        if rest.c == rest.b {
            rest.c = 0;
        }
        rest.b = 0;
    }
    if c {
        rest.c = 0;
    }
    rest
}

/// The first 32 bits of a stream's hash at regular distances: a power of two, in records. As text: the distance, a colon,
/// and the marks with eight hexadecimal digits each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    every: u64,
    values: Vec<u32>,
}

impl Marks {
    /// The number of marks at which every second one is dropped.
    const MOST: usize = 64;

    /// The marks at the distance `every`, a multiple of their own.
    fn every(&self, every: u64) -> Self {
        let step = (every / self.every).max(1) as usize;
        Self { every, values: self.values.iter().skip(step - 1).step_by(step).copied().collect() }
    }

    /// Among which records the first one is in which two streams differ, which are not the same; the end of the range is
    /// `u64::MAX` where there are no marks any more.
    pub fn first_difference(&self, other: &Self) -> Range<u64> {
        let every = self.every.max(other.every);
        let (one, other) = (self.every(every).values, other.every(every).values);
        let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
        let end = if same < one.len().min(other.len()) { (same as u64 + 1) * every } else { u64::MAX };
        same as u64 * every..end
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.every)?;
        self.values.iter().try_for_each(|value| write!(f, "{value:08x}"))
    }
}

impl FromStr for Marks {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (every, values) = text.split_once(':').ok_or(())?;
        let every: u64 = every.parse().map_err(|_| ())?;
        if !every.is_power_of_two() || !values.len().is_multiple_of(8) {
            return Err(());
        }
        let value = |digits: &[u8]| {
            std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or(())
        };
        let values = values.as_bytes().chunks(8).map(value).collect::<Result<_, _>>()?;
        Ok(Self { every, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marks(ticks: impl Iterator<Item = u32>) -> (String, Marks) {
        let mut hash = TraceHash::default();
        ticks.for_each(|tick| hash.push(&Record { tick, ..Record::default() }));
        hash.finish()
    }

    proptest! {
        #[test]
        fn the_first_record_that_differs_is_in_the_range(len in 1..3000_u32, more in 0..3000_u32, at in 0..3000_u32) {
            let at = at % len;
            let (hash, then) = marks(0..len);
            let (other, now) = marks((0..len + more).map(|tick| if tick == at { u32::MAX } else { tick }));
            prop_assert!(hash != other);
            let range = then.first_difference(&now);
            prop_assert!(range.contains(&u64::from(at)), "{at} in {range:?}");
            // A thirty-second of the longer stream at most, but at its end.
            let closed = range.end != u64::MAX;
            prop_assert!(!closed || range.end - range.start <= u64::from((len + more) / 32).max(1) , "{range:?}");
            prop_assert!(closed || range.start + u64::from((len + more) / 32 + 1) >= u64::from(len));
            prop_assert_eq!(then.to_string().parse::<Marks>(), Ok(then));
        }
    }

    #[test]
    fn code_addresses_are_not_hashed_and_all_else_is() {
        let hash = |record: Record| {
            let mut hash = TraceHash::default();
            hash.push(&record);
            hash.finish().0
        };
        let nmi =
            Record { kind: Kind::Nmi as u16, a: 3, b: 0xffff_ffff_8010_0000, c: 200, ..Record::default() };
        assert_eq!(hash(nmi), hash(Record { b: 0xffff_ffff_8010_0004, ..nmi }));
        assert_ne!(hash(nmi), hash(Record { a: 0, ..nmi }));
        assert_ne!(hash(nmi), hash(Record { c: 201, ..nmi }));
        let fetch =
            Record { kind: Kind::Fault as u16, a: 14, b: 0x40_0000, c: 0x40_0000, ..Record::default() };
        assert_eq!(hash(fetch), hash(Record { b: 0x40_1000, c: 0x40_1000, ..fetch }));
        assert_ne!(hash(fetch), hash(Record { c: 0x80_0000, ..fetch }));
        let lend = Record { kind: Kind::Lend as u16, b: 0x20, ..Record::default() };
        assert_ne!(hash(lend), hash(Record { b: 0x21, ..lend }));
    }

    #[test]
    fn what_are_no_marks_is_refused() {
        for text in ["", "1", "3:", "0:", "1:abc", "1:zzzzzzzz", "1:+1234567é"] {
            assert!(text.parse::<Marks>().is_err(), "{text}");
        }
        assert!("1:".parse::<Marks>().is_ok());
    }
}
