//! The nursery: keeps a given number of people alive, usually clients.
#![no_std]
#![no_main]

use abi::syscall::Load;
use guest_user::nursing;

guest_user::program!(run);

/// `argument` is the program to start.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    nursing::keep(argument, Load::People, seed)
}
