//! The boot parameters, as the kernel command line gives them. The table of names, defaults and ranges is
//! [`abi::boot`].
//!
//! Words that the kernel does not know are skipped, as kernels do: the line may come from any loader.

use abi::boot::{
    BootParameter, CLOCK, CLOCK_APIC, CLOCK_VIRTUAL, DEFAULT_START, PARAMETERS, START, START_BYTES,
};
use abi::syscall::Load;

/// Where ticks come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// The guest's own kernel entries: a run is repeatable.
    Virtual,
    /// The local APIC's timer: real preemption.
    Apic,
}

/// The parameters, with defaults for those that the command line does not give. What each number means stands
/// in the table.
#[derive(Clone, Debug)]
pub struct Params {
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) tick_entries: u32,
    /// Read inside the guest only, where there is an APIC.
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    pub(crate) tick_us: u32,
    pub(crate) fix_pager: bool,
    pub(crate) fix_ids: bool,
    pub(crate) fix_priorities: bool,
    pub(crate) low_water: u32,
    pub(crate) buffers: u32,
    load: [u64; Load::ALL.len()],
    start: [u8; START_BYTES],
    start_len: usize,
}

/// One entry of the start list: `program:count:uid:priority:argument`; the argument is a number or a
/// program's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start<'a> {
    /// Program's name in the boot module.
    pub program: &'a [u8],
    /// How many to start.
    pub count: u64,
    /// User id.
    pub uid: u64,
    /// Priority.
    pub priority: u64,
    /// Argument; the instance's number is added to a numeric one.
    pub argument: &'a [u8],
}

impl Params {
    /// Parses a command line.
    pub fn parse(line: &[u8]) -> Self {
        let mut values: [u64; PARAMETERS] = core::array::from_fn(|nth| BootParameter::ALL[nth].default());
        let mut clock = Clock::Virtual;
        let mut start = DEFAULT_START.as_bytes();
        for word in line.split(|b| *b == b' ').filter(|w| !w.is_empty()) {
            let mut parts = word.splitn(2, |b| *b == b'=');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else { continue };
            if key == START.as_bytes() {
                start = if value.len() <= START_BYTES { value } else { start };
            } else if key == CLOCK.as_bytes() {
                clock = match value {
                    _ if value == CLOCK_APIC.as_bytes() => Clock::Apic,
                    _ if value == CLOCK_VIRTUAL.as_bytes() => Clock::Virtual,
                    _ => clock,
                };
            } else if let (Some(parameter), Some(number)) = (BootParameter::from_name(key), number(value)) {
                values[parameter as usize] = parameter.clamp(number);
            }
        }
        let mut params = Self::of(&values, clock);
        params.start[..start.len()].copy_from_slice(start);
        params.start_len = start.len();
        params
    }

    fn of(values: &[u64; PARAMETERS], clock: Clock) -> Self {
        let value = |parameter: BootParameter| values[parameter as usize];
        Self {
            seed: value(BootParameter::Seed),
            clock,
            tick_entries: value(BootParameter::TickEntries) as u32,
            tick_us: value(BootParameter::TickMicroseconds) as u32,
            fix_pager: value(BootParameter::FixPager) != 0,
            fix_ids: value(BootParameter::FixIds) != 0,
            fix_priorities: value(BootParameter::FixPriorities) != 0,
            low_water: value(BootParameter::LowWater) as u32,
            buffers: value(BootParameter::Buffers) as u32,
            load: core::array::from_fn(|nth| value(Load::ALL[nth].parameter())),
            start: [0; START_BYTES],
            start_len: 0,
        }
    }

    /// A load parameter, by its number; `None` for numbers that no parameter has.
    #[inline(always)]
    pub(crate) fn load(&self, which: u64) -> Option<u64> {
        self.load.get(usize::try_from(which).ok()?).copied()
    }

    /// The start list.
    pub fn start(&self) -> impl Iterator<Item = Start<'_>> {
        self.start[..self.start_len].split(|b| *b == b',').filter_map(|entry| {
            let mut parts = entry.split(|b| *b == b':');
            Some(Start {
                program: parts.next()?,
                count: number(parts.next()?)?,
                uid: number(parts.next()?)?,
                priority: number(parts.next()?)?,
                argument: parts.next()?,
            })
        })
    }
}

/// Parses a decimal number; `None` for anything else, and for one that does not fit.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut sum = 0u64;
    for digit in text {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum = sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn the_defaults_hold_for_an_empty_line() {
        let params = Params::parse(b"");
        assert_eq!(params.seed, 1);
        assert_eq!((params.clock, params.fix_priorities), (Clock::Virtual, false));
        assert_eq!(params.start().count(), 5);
    }

    #[test]
    fn known_words_are_taken_and_others_skipped() {
        let params = Params::parse(
            b"console=ttyS0 seed=42 quiet fix.pager=1 people=99 start=front:2:10:4:2000  seed=x",
        );
        assert_eq!((params.seed, params.fix_pager, params.load(Load::People as u64)), (42, true, Some(99)));
        let start: Vec<_> = params.start().collect();
        assert_eq!(start.len(), 1);
        assert_eq!((start[0].program, start[0].count, start[0].argument), (&b"front"[..], 2, &b"2000"[..]));
    }

    #[test]
    fn a_clock_is_one_of_two_and_its_tick_neither_nothing_nor_for_ever() {
        let clock = |line: &str| Params::parse(line.as_bytes()).clock;
        assert_eq!(clock("clock=apic"), Clock::Apic);
        assert_eq!(clock("clock=apic clock=sundial"), Clock::Apic);
        assert_eq!(clock("clock=apic clock=virtual"), Clock::Virtual);
        for (line, us) in
            [("tick-us=0", 100), ("tick-us=99999999999999999", 1_000_000), ("tick-us=2000", 2000)]
        {
            assert_eq!(Params::parse(line.as_bytes()).tick_us, us);
        }
        assert!(Params::parse(b"fix.priorities=1").fix_priorities);
    }

    #[test]
    fn every_parameter_of_the_table_changes_what_is_parsed() {
        let unset = std::format!("{:?}", Params::parse(b""));
        for parameter in BootParameter::ALL.iter().copied() {
            let other = if parameter.default() == 1 { 7 } else { 1 };
            let line = std::format!("{}={}", parameter.name(), parameter.clamp(other));
            assert_ne!(std::format!("{:?}", Params::parse(line.as_bytes())), unset, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in prop::collection::vec(any::<u8>(), 0..900)) {
            let params = Params::parse(&line);
            prop_assert!(params.tick_entries > 0);
            prop_assert!(BootParameter::Buffers.range().contains(&params.buffers.into()));
            let _ = params.start().count();
        }
    }
}
