//! A violator: asks for a key that it may not have, and tries to read the memory of others and to kill them
//! without being root. It asks a directory about some of them, and never rests, since it does not live long.
#![no_std]
#![no_main]

use abi::layout::USER_DATA;
use abi::syscall::{Keys, Load};
use guest_user::directory::{DIRECTORIES, OWN};
use guest_user::system::{Choices, NOTHING, SYSTEM};

guest_user::program!(run);

/// Processes among which it looks for victims if its argument gives no number.
const MANY: u64 = 64;
/// Ticks that it waits for a directory's answer.
const PATIENCE: u64 = 20;

/// `argument` is the number of processes that it assumes to exist.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    let mut choices = Choices::new(seed);
    let Ok(buffer) = SYSTEM.grow(1) else { SYSTEM.exit(0) };
    let _ = SYSTEM.ask_for_keys(Keys::AGENT);
    let directories = SYSTEM.load(Load::Directories);
    let many = if (1..=255).contains(&argument) { argument } else { MANY };
    loop {
        let Some(other) = SYSTEM.who(1 + choices.below(many)).filter(|other| u64::from(other.0) != me) else {
            continue;
        };
        if choices.below(8) == 0 {
            let directory = DIRECTORIES + choices.below(directories);
            let _ = SYSTEM.call(directory, [u64::from(other.0) | OWN, 0], NOTHING, PATIENCE);
        }
        if choices.below(2) == 0 {
            let _ = SYSTEM.examine(other, USER_DATA, buffer, 64);
        } else {
            let _ = SYSTEM.kill(other);
        }
    }
}
