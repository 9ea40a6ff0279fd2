//! The store behind the front servers and the directories: looks up the key of an account, or a name that was
//! entered for good. It is slow.
#![no_std]
#![no_main]

use abi::syscall::Load;
use guest_user::system::{SYSTEM, stop};

guest_user::program!(run);

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
        let key = match message.words {
            [account, 0] => (account ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60,
            // No name was ever entered for good.
            _ => 0,
        };
        message = match SYSTEM.reply_receive(message.sender, [key, 0], argument) {
            Ok(next) => next,
            Err(_) => stop(),
        };
    }
}
