//! A violator: answers messages that it never received, in the hope that a process waits for just that
//! answer.
#![no_std]
#![no_main]

use abi::Pid;
use guest_user::system::{Choices, SYSTEM};

guest_user::program!(run);

/// Longest rest between two tries, ticks.
const REST: u64 = 3;

/// `argument` is the number of processes that it assumes to exist.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let mut choices = Choices::new(seed);
    loop {
        let to = Pid::new(1 + choices.below(argument.max(1)) as usize, choices.below(2) as u16);
        let _ = SYSTEM.reply(to, [choices.any(), 0]);
        SYSTEM.sleep(1 + choices.below(REST));
    }
}
