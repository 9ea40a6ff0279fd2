//! A violator: searches for servers by trying one port after the other, by message and by datagram, and tries
//! to bind ports that it may not have.
#![no_std]
#![no_main]

use guest_user::system::{Choices, NOTHING, SYSTEM};

guest_user::program!(run);

/// Longest rest between two tries, ticks.
const REST: u64 = 3;

/// `argument` is the first port.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let mut choices = Choices::new(seed);
    let mut port = argument;
    loop {
        port += 1;
        let _ = match choices.below(4) {
            0 => SYSTEM.bind(1 + choices.below(1000)),
            1 => SYSTEM.post(port, NOTHING, 1),
            _ => SYSTEM.call(port, [0, 0], NOTHING, 1).map(|_| ()),
        };
        SYSTEM.sleep(1 + choices.below(REST));
    }
}
