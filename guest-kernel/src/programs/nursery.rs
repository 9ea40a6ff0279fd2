//! The nursery: keeps a given number of clients alive. When one has ended, it starts another.
#![no_std]
#![no_main]

use abi::syscall::{Load, Query};
use guest_kernel::user::{Choices, SYSTEM};

guest_kernel::program!(run);

/// Uid and priority of those it starts.
const UID: u64 = 1000;
const PRIORITY: u64 = 4;

/// `argument` is the program to start.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let (people, every) = (SYSTEM.load(Load::People), SYSTEM.load(Load::SpawnEvery));
    let mut choices = Choices::new(seed);
    let mut alive = 0;
    loop {
        let next = SYSTEM.query(Query::Tick) + every.max(1);
        // A start that fails for want of memory is tried again the next time.
        if alive < people && SYSTEM.spawn(argument, UID, PRIORITY, choices.any()).is_ok() {
            alive += 1;
        }
        while let Some(rest) = next.checked_sub(SYSTEM.query(Query::Tick)).filter(|rest| *rest > 0) {
            match SYSTEM.wait(rest) {
                Ok(_) => alive -= 1,
                Err(_) => break,
            }
        }
    }
}
