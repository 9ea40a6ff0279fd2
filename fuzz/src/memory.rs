//! A small memory full of page tables. The input's bytes choose their entries: most lead on to another table,
//! and some do what no sound table does.

use abi::GuestPhys;
use introspect::x86::paging::bits::{LARGE, NO_EXECUTE, PRESENT, USER, WRITE};
use introspect::x86::{OutOfRange, Paging, PhysicalMemory};

use crate::input::Input;

/// Frames in the memory; each may be a table.
pub(crate) const FRAMES: usize = 10;

/// Bytes of input per entry.
const ENTRY: usize = 5;
/// Largest number of entries written from one input.
const MOST_ENTRIES: usize = 4096 / ENTRY;

/// Entries near the borders of halves and tables, where mistakes are likely.
const PLACES: [usize; 16] = [0, 1, 2, 3, 127, 128, 254, 255, 256, 257, 383, 384, 509, 510, 511, 273];

/// Takes the processor's settings from the input.
pub(crate) fn paging(input: &mut Input<'_>) -> Paging {
    let choice = input.byte();
    Paging {
        no_execute: !choice.is_multiple_of(4),
        five_levels: choice >= 128,
        physical_bits: input.one_of(&[52, 40, 36, 0, 255]),
    }
}

/// Writes entries from the input until it is used up.
pub(crate) fn tables(input: &mut Input<'_>) -> Vec<u8> {
    let mut memory = vec![0; FRAMES * 4096];
    for _ in 0..MOST_ENTRIES {
        if input.is_empty() {
            break;
        }
        write_entry(&mut memory, input);
    }
    memory
}

/// Writes one entry, or the same one into a run of places.
pub(crate) fn write_entry(memory: &mut [u8], input: &mut Input<'_>) {
    let [table, place, flags, kind, target] =
        std::array::from_fn::<_, ENTRY, _>(|_| usize::from(input.byte()));
    let place = if place < 192 { PLACES[place % PLACES.len()] } else { place * 2 + table / FRAMES % 2 };
    let bit = |number: u32, bit: u64| if flags >> number & 1 == 1 { bit } else { 0 };
    let address = match target {
        0..200 => target % FRAMES,
        200..230 => (target - 200) << 9 | (target & 3),
        230..250 => FRAMES + target - 230,
        _ => 1 << (20 + kind % 20),
    };
    // Nearly always present; bits that no sound entry has are set rarely.
    let mut value = PRESENT ^ bit(0, PRESENT & u64::from(kind < 32));
    value |=
        bit(1, WRITE) | bit(2, USER) | bit(3, LARGE) | bit(4, NO_EXECUTE) | bit(5, 1 << 5) | bit(6, 1 << 8);
    value |= (address as u64) << 12;
    if kind >= 224 {
        value ^= 1 << ((kind * 2 + flags / 128) % 64);
    }
    let run = if kind & 31 == 31 { 64 } else { 1 };
    for at in (table % FRAMES * 512 + place..).take(run).filter(|at| *at < FRAMES * 512) {
        memory[at * 8..][..8].copy_from_slice(&value.to_le_bytes());
    }
}

/// A memory that offers only `read`, so that the trait's provided methods do the rest.
pub(crate) struct Plain<'a>(pub(crate) &'a [u8]);

impl PhysicalMemory for Plain<'_> {
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange> {
        self.0.read(at, into)
    }
}
