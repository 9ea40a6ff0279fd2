//! A datagram server: sends each datagram back to the port that its first word names.
#![no_std]
#![no_main]

use abi::syscall::{DATAGRAM_BYTES, Error};
use guest_user::system::{Lend, SYSTEM, read_word, stop};

guest_user::program!(run);

/// `argument` is the port to serve.
fn run(argument: u64, _seed: u64, _me: u64) -> ! {
    if SYSTEM.bind(argument).is_err() {
        SYSTEM.print("the port is taken");
        SYSTEM.exit(1);
    }
    let Ok(at) = SYSTEM.grow(1) else { SYSTEM.exit(0) };
    loop {
        let datagram = match SYSTEM.collect(argument, Lend { at, bytes: DATAGRAM_BYTES }, 0) {
            Ok(datagram) => datagram,
            Err(Error::Interrupted) => continue,
            Err(_) => stop(),
        };
        if datagram.damaged {
            SYSTEM.print("a datagram came damaged");
            SYSTEM.exit(1);
        }
        // A sender that no longer listens needs no echo; for one that does, any wait is worth it.
        let _ = SYSTEM.post(read_word(at), Lend { at, bytes: datagram.bytes }, 0);
    }
}
