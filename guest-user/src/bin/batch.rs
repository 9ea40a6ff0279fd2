//! A batch worker: keeps a table of numbers, works on it in small steps, and checks it on the way.
#![no_std]
#![no_main]

use abi::layout::PAGE_SIZE;
use guest_user::system::{Choices, SYSTEM, read_word, write_word};

guest_user::program!(run);

/// Pages of its table.
const PAGES: u64 = 4;

/// `argument` is the longest rest between two steps, in ticks; with 0 it only lets others run.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let Ok(table) = SYSTEM.grow(PAGES) else { SYSTEM.exit(0) };
    let mut choices = Choices::new(seed);
    let words = PAGES * PAGE_SIZE / 8;
    let mut round = 0u64;
    loop {
        for word in 0..words {
            if round > 0 && read_word(table + word * 8) != value(seed, round - 1, word) {
                SYSTEM.print("my table is not what I wrote");
                SYSTEM.exit(1);
            }
            write_word(table + word * 8, value(seed, round, word));
        }
        round += 1;
        match argument {
            0 => SYSTEM.rest(),
            longest => SYSTEM.sleep(1 + choices.below(longest)),
        }
    }
}

fn value(seed: u64, round: u64, word: u64) -> u64 {
    (seed ^ round << 32 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
