//! A violator: asks for a key that is not for it, and tries to read the memory of others and to end them, without being root.
#![no_std]
#![no_main]

use abi::Pid;
use abi::layout::USER_DATA;
use abi::syscall::Keys;
use guest_kernel::user::{Choices, SYSTEM};

guest_kernel::program!(run);

/// Longest rest between two tries, ticks.
const REST: u64 = 6;

/// `argument` is how many processes it takes to exist.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    let mut choices = Choices::new(seed);
    let Ok(buffer) = SYSTEM.grow(1) else { SYSTEM.exit(0) };
    let _ = SYSTEM.ask_for_keys(Keys::AGENT);
    loop {
        let other = Pid::new(1 + choices.below(argument.max(1)) as usize, 0);
        if u64::from(other.0) != me {
            if choices.below(2) == 0 {
                let _ = SYSTEM.examine(other, USER_DATA, buffer, 64);
            } else {
                let _ = SYSTEM.kill(other);
            }
        }
        SYSTEM.sleep(1 + choices.below(REST));
    }
}
