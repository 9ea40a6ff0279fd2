//! Somebody who asks the directory, again and again: puts a name of its own there, then lends lists of names and checks
//! that each has become the right port.
#![no_std]
#![no_main]

use abi::syscall::Error;
use guest_kernel::user::{Choices, Lend, NOTHING, SYSTEM, read_word, write_word};

guest_kernel::program!(run);

/// Names in a list.
const NAMES: u64 = 64;
/// Ticks that it waits for an answer, and longest rest between two questions.
const PATIENCE: u64 = 400;
const REST: u64 = 10;

/// `argument` is the directory's port.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    let mut choices = Choices::new(seed);
    let Ok(list) = SYSTEM.grow(1) else { SYSTEM.exit(0) };
    loop {
        SYSTEM.sleep(1 + choices.below(REST));
        // The directory may have been started again, and be empty. It may also be full.
        let known = match SYSTEM.call(argument, [me | 1 << 63, 5000 + me % 1000], NOTHING, PATIENCE) {
            Ok([port, _]) if port == 0 || port == 5000 + me % 1000 => port,
            Ok(_) => damaged(),
            Err(_) => continue,
        };
        for nth in 0..NAMES {
            write_word(list + nth * 8, if nth % 3 == 0 { me | 1 << 63 } else { 1 << 62 | nth });
        }
        match SYSTEM.call(argument, [0, 0], Lend { at: list, bytes: NAMES * 8 }, PATIENCE) {
            Ok([found, _]) => {
                let right = |nth: u64| if nth.is_multiple_of(3) { known } else { 0 };
                if (0..NAMES).any(|nth| read_word(list + nth * 8) != right(nth)) {
                    damaged();
                }
                if found != if known == 0 { 0 } else { NAMES.div_ceil(3) } {
                    damaged();
                }
            }
            // Whoever has the list may still be at it: another page, if there is one.
            Err(Error::TimedOut) => SYSTEM.exit(0),
            Err(_) => {}
        }
    }
}

fn damaged() -> ! {
    SYSTEM.print("the answer is wrong");
    SYSTEM.exit(1)
}
