//! An old program, made for version 1 of the system calls: keeps a ledger of numbers in memory that it gets
//! by `brk`, and goes over it at its leisure.
#![no_std]
#![no_main]

use abi::compat::{V1_BRK, V1_EXIT, V1_NICE, V1_SLEEP};
use abi::layout::PAGE_SIZE;
use guest_user::system::{Choices, SYSTEM, read_word, stop, write_word};

guest_user::program!(run);

/// Pages of its ledger.
const PAGES: u64 = 3;
/// Bytes between two entries.
const STRIDE: u64 = 256;
/// Longest rest, ticks.
const REST: u64 = 10;

/// `argument` is the number of times that it goes over its ledger.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let mut choices = Choices::new(seed);
    if SYSTEM.old(V1_NICE, [1, 0]).is_err() {
        exit(1);
    }
    let Ok([ledger, ..]) = SYSTEM.old(V1_BRK, [0, 0]) else { exit(1) };
    // Without memory it has nothing to do.
    if SYSTEM.old(V1_BRK, [ledger + PAGES * PAGE_SIZE, 0]).is_err() {
        exit(0);
    }
    if !matches!(SYSTEM.old(V1_BRK, [0, 0]), Ok([end, ..]) if end == ledger + PAGES * PAGE_SIZE) {
        SYSTEM.print("the end of the heap is not where it was");
        exit(1);
    }
    for round in 0..argument {
        for at in (ledger..ledger + PAGES * PAGE_SIZE).step_by(STRIDE as usize) {
            let expected = if round == 0 { 0 } else { value(seed, round - 1, at) };
            if read_word(at) != expected {
                SYSTEM.print("my ledger is not what I wrote");
                exit(1);
            }
            write_word(at, value(seed, round, at));
        }
        let _ = SYSTEM.old(V1_SLEEP, [1 + choices.below(REST), 0]);
    }
    exit(0)
}

fn exit(status: u64) -> ! {
    let _ = SYSTEM.old(V1_EXIT, [status, 0]);
    stop()
}

fn value(seed: u64, round: u64, at: u64) -> u64 {
    (seed ^ round << 32 ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
