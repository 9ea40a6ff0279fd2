//! A violator: answers messages that it never got, in the hope that somebody waits for just that answer.
#![no_std]
#![no_main]

use abi::Pid;
use abi::syscall::Call;
use guest_kernel::user::{Choices, SYSTEM, system_call};

guest_kernel::program!(run);

/// Longest rest between two tries, ticks.
const REST: u64 = 3;

/// `argument` is how many processes it takes to exist.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let mut choices = Choices::new(seed);
    loop {
        let to = Pid::new(1 + choices.below(argument.max(1)) as usize, choices.below(2) as u16);
        let _ = system_call(Call::Reply as u64, [u64::from(to.0), choices.any(), 0, 0, 0, 0]);
        SYSTEM.sleep(1 + choices.below(REST));
    }
}
