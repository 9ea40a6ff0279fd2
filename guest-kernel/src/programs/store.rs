//! The store behind the front servers: looks up the key of an account. Its shelves are slow.
#![no_std]
#![no_main]

use abi::syscall::Load;
use guest_kernel::user::{SYSTEM, stop};

guest_kernel::program!(run);

/// `argument` is the port to serve.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let work = SYSTEM.load(Load::Work);
    if SYSTEM.bind(argument).is_err() {
        SYSTEM.print("the port is taken");
        SYSTEM.exit(1);
    }
    let Ok(mut message) = SYSTEM.receive(argument) else { stop() };
    loop {
        if work > 0 {
            SYSTEM.sleep(work);
        }
        let key = (message.words[0] ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        message = match SYSTEM.reply_receive(message.sender, [key, 0], argument) {
            Ok(next) => next,
            Err(_) => stop(),
        };
    }
}
