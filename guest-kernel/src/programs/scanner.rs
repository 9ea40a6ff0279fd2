//! A violator: looks for servers by trying ports, one after the other, by message and by datagram, and tries to bind some
//! that are not for it.
#![no_std]
#![no_main]

use abi::syscall::Call;
use guest_kernel::user::{Choices, NOTHING, SYSTEM, system_call};

guest_kernel::program!(run);

/// Longest rest between two tries, ticks.
const REST: u64 = 3;

/// `argument` is the first port.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let mut choices = Choices::new(seed);
    let mut port = argument;
    loop {
        port += 1;
        match choices.below(4) {
            0 => drop(SYSTEM.bind(1 + choices.below(1000))),
            1 => drop(system_call(Call::Post as u64, [port, 0, 0, 1, 0, 0])),
            _ => drop(SYSTEM.call(port, [0, 0], NOTHING, 1)),
        }
        SYSTEM.sleep(1 + choices.below(REST));
    }
}
