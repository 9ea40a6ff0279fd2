//! A caller: a system program that computes short sums by phone, in kernel context, where nothing interrupts
//! them. It handles signals, as a phone call requires, and exits before any comes.
#![no_std]
#![no_main]

use abi::layout::PAGE_SIZE;
use abi::syscall::Keys;
use guest_user::system::{Choices, SYSTEM, privilege, read_word, write_word};

guest_user::program!(run);

/// Words that are summed up in a call.
const WORDS: u64 = 16;
/// Longest rest between two calls, ticks.
const REST: u64 = 8;

/// `argument` is the number of calls that it makes.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    if SYSTEM.ask_for_keys(Keys::PHONE) != Keys::PHONE {
        SYSTEM.print("no key to the phone");
        SYSTEM.exit(1);
    }
    let Ok(heap) = SYSTEM.grow(2) else { SYSTEM.exit(1) };
    if SYSTEM.handle(signalled, heap + PAGE_SIZE).is_err() {
        SYSTEM.print("signals cannot be handled");
        SYSTEM.exit(1);
    }
    let mut choices = Choices::new(seed);
    let list = heap + PAGE_SIZE;
    for _ in 0..argument {
        let mut sum = 0u64;
        for at in (list..list + WORDS * 8).step_by(8) {
            let word = choices.any();
            write_word(at, word);
            sum = sum.wrapping_add(word);
        }
        // In ring 3 the sum has the ring on top.
        if SYSTEM.phone(summed, list) != Ok(sum) || summed(list) != sum.wrapping_add(3) {
            SYSTEM.print("the sum is wrong");
            SYSTEM.exit(1);
        }
        SYSTEM.sleep(1 + choices.below(REST));
    }
    SYSTEM.exit(0)
}

/// Sums up a list; adds the ring that it runs in.
extern "C" fn summed(list: u64) -> u64 {
    (list..list + WORDS * 8).step_by(8).fold(privilege(), |sum, at| sum.wrapping_add(read_word(at)))
}

extern "C" fn signalled(_number: u64) {
    SYSTEM.exit(0)
}
