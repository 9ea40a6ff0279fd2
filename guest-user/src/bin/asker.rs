//! A client of a directory: enters a name of its own and one of the duties that it shares with its
//! colleagues, then lends a list of a few names and checks that each has got the right port, again and again.
#![no_std]
#![no_main]

use abi::syscall::{Error, Load, Query};
use guest_user::directory::{DIRECTORIES, LEASE, OWN, RECORD_BYTES};
use guest_user::system::{Choices, Lend, NOTHING, SYSTEM, read_word, write_word};

guest_user::program!(run);

/// Most names in a list: duties, and its own.
const NAMES: u64 = 3;
/// Duties have this bit.
const DUTY: u64 = 1 << 62;
/// Duties that there are.
const DUTIES: u64 = 16;
/// Ticks that it waits for an answer, and longest rest between two questions.
const PATIENCE: u64 = 400;
const REST: u64 = 40;
/// Ports are numbers below this one.
const PORTS: u64 = 1 << 16;

/// The port that belongs to a name.
fn port_of(name: u64) -> u64 {
    5000 + name % 1000
}

/// `argument` is the directory's port; with a number that is no port it chooses one of the directories, and
/// exits when its requests are done.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    let mut choices = Choices::new(seed);
    let mut rests = Choices::new(!seed);
    let directories = SYSTEM.load(Load::Directories);
    let (mut directory, rounds) = match argument {
        DIRECTORIES..PORTS => (argument, u64::MAX),
        _ => (DIRECTORIES + choices.below(directories), SYSTEM.load(Load::Rounds)),
    };
    SYSTEM.arrive(&mut rests);
    let mut duty = || DUTY | choices.below(DUTIES);
    let Ok(list) = SYSTEM.grow(1) else { SYSTEM.exit(0) };
    for _ in 0..rounds {
        SYSTEM.sleep(1 + rests.below(REST));
        let start = SYSTEM.query(Query::Tick);
        let names = [duty(), duty(), me | OWN];
        // If one directory is not there, the next may be.
        for _ in 0..directories {
            if enter(directory, duty()).is_some() {
                break;
            }
            directory = DIRECTORIES + (directory - DIRECTORIES + 1) % directories;
        }
        let Some((known, keeper)) = enter(directory, names[2]) else { continue };
        let count = 1 + rests.below(NAMES);
        for (nth, name) in (0..count).zip(&names) {
            write_word(list + nth * RECORD_BYTES, *name);
            write_word(list + nth * RECORD_BYTES + 8, 0);
        }
        match SYSTEM.call(directory, [0, 0], Lend { at: list, bytes: count * RECORD_BYTES }, PATIENCE) {
            Ok([found, again]) => {
                // An entry may be gone: its lease has ended, or the directory was restarted.
                let fresh = again == keeper && SYSTEM.query(Query::Tick) - start < LEASE;
                let mut ports = 0;
                for (nth, name) in (0..count).zip(&names) {
                    if read_word(list + nth * RECORD_BYTES) != *name {
                        damaged();
                    }
                    match read_word(list + nth * RECORD_BYTES + 8) {
                        0 if nth == 2 && known && fresh => damaged(),
                        0 => {}
                        port if port == port_of(*name) => ports += 1,
                        _ => damaged(),
                    }
                }
                if found != ports {
                    damaged();
                }
            }
            // The directory may still be working on the list: use another page, if there is one.
            Err(Error::TimedOut) => SYSTEM.exit(0),
            Err(_) => {}
        }
    }
    SYSTEM.exit(0)
}

/// Enters a name; returns whether there was room for it, and the directory's number.
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
