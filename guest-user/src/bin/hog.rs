//! A hog: takes more and more memory, writes all of it, checks what it has from time to time, and releases
//! everything by exiting.
#![no_std]
#![no_main]

use abi::layout::{PAGE_SIZE, USER_HEAP, USER_HEAP_END};
use guest_user::system::{Choices, SYSTEM, read_word, write_word};

guest_user::program!(run);

/// Pages that a heap can have.
const HEAP_PAGES: u64 = (USER_HEAP_END - USER_HEAP) / PAGE_SIZE;
/// Words written in each page: at its start, and so many bytes apart.
const STRIDE: u64 = 512;
/// Most pages taken at once.
const STEP: u64 = 4;
/// Longest rest between two steps, ticks.
const REST: u64 = 3;

/// Pages that it takes when its argument makes no sense.
const LEAST: u64 = 8;
const MOST: u64 = 40;

/// `argument` is the number of pages that it takes.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let mut choices = Choices::new(seed);
    let argument = if argument <= HEAP_PAGES { argument } else { LEAST + choices.below(MOST - LEAST + 1) };
    let (mut start, mut end) = (0, 0);
    while end - start < argument * PAGE_SIZE {
        let pages = (1 + choices.below(STEP)).min(argument - (end - start) / PAGE_SIZE);
        // The kernel has no more to promise: it makes do with what it has.
        let Ok(at) = SYSTEM.grow(pages) else { break };
        if end == 0 {
            (start, end) = (at, at);
        }
        for at in (end..end + pages * PAGE_SIZE).step_by(STRIDE as usize) {
            if read_word(at) != 0 {
                SYSTEM.print("new memory is not empty");
                SYSTEM.exit(1);
            }
            write_word(at, value(seed, at));
        }
        end += pages * PAGE_SIZE;
        if choices.below(4) == 0 {
            check(seed, start, end);
        }
        SYSTEM.sleep(1 + choices.below(REST));
    }
    check(seed, start, end);
    SYSTEM.exit(0)
}

fn check(seed: u64, start: u64, end: u64) {
    for at in (start..end).step_by(STRIDE as usize) {
        if read_word(at) != value(seed, at) {
            SYSTEM.print("my memory is not what I wrote");
            SYSTEM.exit(1);
        }
    }
}

fn value(seed: u64, at: u64) -> u64 {
    (seed ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}
