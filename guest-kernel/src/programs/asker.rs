//! Somebody who asks the directory, again and again: enters a name of its own and one of the duties that it shares with
//! its colleagues, then lends a list of its name and of duties, and checks that each has become the right port.
#![no_std]
#![no_main]

use abi::syscall::{Error, Query};
use guest_kernel::directory::LEASE;
use guest_kernel::user::{Choices, Lend, NOTHING, SYSTEM, read_word, write_word};

guest_kernel::program!(run);

/// Names in a list: its own and two duties, in turn.
const NAMES: u64 = 64;
/// Own names have this bit, duties the other.
const OWN: u64 = 1 << 63;
const DUTY: u64 = 1 << 62;
/// Duties that there are.
const DUTIES: u64 = 16;
/// Ticks that it waits for an answer, and longest rest between two questions.
const PATIENCE: u64 = 400;
const REST: u64 = 40;

/// The port that belongs to a name.
fn port_of(name: u64) -> u64 {
    5000 + name % 1000
}

/// `argument` is the directory's port.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    let mut choices = Choices::new(seed);
    let mut duty = || DUTY | choices.below(DUTIES);
    let mut rests = Choices::new(!seed);
    let Ok(list) = SYSTEM.grow(1) else { SYSTEM.exit(0) };
    loop {
        SYSTEM.sleep(1 + rests.below(REST));
        let start = SYSTEM.query(Query::Tick);
        let names = [me | OWN, duty(), duty()];
        if enter(argument, duty()).is_none() {
            continue;
        }
        let Some((known, directory)) = enter(argument, names[0]) else { continue };
        for nth in 0..NAMES {
            write_word(list + nth * 8, names[nth as usize % names.len()]);
        }
        match SYSTEM.call(argument, [0, 0], Lend { at: list, bytes: NAMES * 8 }, PATIENCE) {
            Ok([found, again]) => {
                // What was entered may be forgotten: in time, or by a directory that was started again.
                let fresh = again == directory && SYSTEM.query(Query::Tick) - start < LEASE;
                let mut count = 0;
                for nth in 0..NAMES {
                    let name = names[nth as usize % names.len()];
                    match read_word(list + nth * 8) {
                        0 if name == names[0] && known && fresh => damaged(),
                        0 => {}
                        port if port == port_of(name) => count += 1,
                        _ => damaged(),
                    }
                }
                if found != count {
                    damaged();
                }
            }
            // Whoever has the list may still be at it: another page, if there is one.
            Err(Error::TimedOut) => SYSTEM.exit(0),
            Err(_) => {}
        }
    }
}

/// Enters a name; says whether there was room for it, and which directory it was.
fn enter(directory: u64, name: u64) -> Option<(bool, u64)> {
    match SYSTEM.call(directory, [name, port_of(name)], NOTHING, PATIENCE) {
        Ok([0, which]) => Some((false, which)),
        Ok([port, which]) if port == port_of(name) => Some((true, which)),
        Ok(_) => damaged(),
        Err(_) => None,
    }
}

fn damaged() -> ! {
    SYSTEM.print("the answer is wrong");
    SYSTEM.exit(1)
}
