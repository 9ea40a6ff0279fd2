//! Boot parameters, from the kernel command line: `seed=6 tick-entries=16 fix.pager=1 people=24 start=front:2:1000:4:2000`.
//!
//! Words that the kernel does not know are skipped, as kernels do: the line may come from any loader.

use abi::syscall::Load;

/// What is started at boot unless the command line says otherwise.
pub const DEFAULT_START: &[u8] =
    b"watchdogd:1:0:1:14,nursery:1:0:3:client,store:1:100:2:2100,front:2:100:3:2000,batch:1:1000:5:8";

/// Buffers of datagrams at most, whatever the command line says.
pub const MOST_BUFFERS: usize = 256;
/// Longest start list kept, bytes.
const START_LEN: usize = 1024;

/// What drives guest time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// The guest's own kernel entries: a run is repeatable.
    Virtual,
    /// The local APIC's timer: real preemption.
    Apic,
}

/// The parameters, with their defaults filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Params {
    /// Seed of everything that is chosen.
    pub seed: u64,
    /// Where ticks come from.
    pub clock: Clock,
    /// Kernel entries in a tick of the virtual clock.
    pub tick_entries: u32,
    /// Microseconds in a tick of the APIC's timer.
    pub tick_us: u32,
    /// The pager's fix: the quarantine is honoured, teardown is forced under pressure.
    pub fix_pager: bool,
    /// The priorities' fix: inheritance, and ageing of those who wait for the CPU.
    pub fix_priorities: bool,
    /// Free frames below which the pager warns and people are no longer started.
    pub low_water: u32,
    /// Buffers of datagrams at most.
    pub buffers: u32,
    /// The Agents' fix: they look at some of what passes instead of everything.
    pub fix_ids: bool,
    /// Load parameters, in the order of [`Load::NAMES`].
    pub load: [u64; Load::NAMES.len()],
    start: [u8; START_LEN],
    start_len: usize,
}

/// One entry of the start list: `program:count:uid:priority:argument`; the argument is a number or a program's name.
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
    /// Reads a command line.
    pub fn parse(line: &[u8]) -> Self {
        let mut params = Self {
            seed: 1,
            clock: Clock::Virtual,
            tick_entries: 16,
            tick_us: 10_000,
            fix_pager: false,
            fix_priorities: false,
            low_water: 32,
            buffers: 128,
            fix_ids: false,
            load: [6, 20, 2, 200, 4, 2, 400, 2, 1, 0, 2, 0],
            start: [0; START_LEN],
            start_len: 0,
        };
        params.set_start(DEFAULT_START);
        for word in line.split(|b| *b == b' ').filter(|w| !w.is_empty()) {
            let mut parts = word.splitn(2, |b| *b == b'=');
            if let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                params.set(key, value);
            }
        }
        params
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        if key == b"start" {
            self.set_start(value);
            return;
        }
        if key == b"clock" {
            match value {
                b"apic" => self.clock = Clock::Apic,
                b"virtual" => self.clock = Clock::Virtual,
                _ => {}
            }
            return;
        }
        let Some(number) = number(value) else { return };
        match key {
            b"seed" => self.seed = number,
            b"tick-entries" => self.tick_entries = (number as u32).max(1),
            b"tick-us" => self.tick_us = number.clamp(100, 1_000_000) as u32,
            b"fix.pager" => self.fix_pager = number != 0,
            b"fix.priorities" => self.fix_priorities = number != 0,
            b"low-water" => self.low_water = u32::try_from(number).unwrap_or(u32::MAX),
            b"buffers" => self.buffers = number.clamp(1, MOST_BUFFERS as u64) as u32,
            b"fix.ids" => self.fix_ids = number != 0,
            _ => {
                if let Some(at) = Load::NAMES.iter().position(|name| name.as_bytes() == key) {
                    self.load[at] = number;
                }
            }
        }
    }

    fn set_start(&mut self, list: &[u8]) {
        if list.len() <= START_LEN {
            self.start[..list.len()].copy_from_slice(list);
            self.start_len = list.len();
        }
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

/// A decimal number; `None` for anything else, or one that does not fit.
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
        assert_eq!((params.seed, params.fix_pager, params.load[Load::People as usize]), (42, true, 99));
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

    proptest! {
        #[test]
        fn any_line_is_survived(line in prop::collection::vec(any::<u8>(), 0..900)) {
            let params = Params::parse(&line);
            prop_assert!(params.tick_entries > 0);
            prop_assert!((1..=MOST_BUFFERS as u32).contains(&params.buffers));
            let _ = params.start().count();
        }
    }
}
