//! One of a pair that exchange signals and count them exactly: each answers every signal with one of its own,
//! and both check that their work between signals is not disturbed.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::Pid;
use abi::layout::PAGE_SIZE;
use abi::syscall::Error;
use guest_user::system::{NOTHING, SYSTEM};

guest_user::program!(run);

/// Signals that each sends.
const SIGNALS: u64 = 40;
/// Numbers that are used, from 16 on.
const NUMBERS: u64 = 32;
/// Ticks between two looks at the count; a signal ends the wait at once.
const LOOK: u64 = 4;

/// Signals received, and the sum of their numbers.
static COUNT: AtomicU64 = AtomicU64::new(0);
static SUM: AtomicU64 = AtomicU64::new(0);

extern "C" fn signalled(number: u64) {
    COUNT.store(COUNT.load(Relaxed) + 1, Relaxed);
    SUM.store(SUM.load(Relaxed) + number, Relaxed);
}

/// `argument` is the port where the pair meet, of the one that waits there; the other has the next number.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    let Ok(stack) = SYSTEM.grow(1) else { SYSTEM.exit(1) };
    if SYSTEM.handle(signalled, stack + PAGE_SIZE).is_err() {
        fail("signals cannot be handled");
    }
    let waits = argument.is_multiple_of(2);
    let other = if waits { wait_for_the_other(argument, me) } else { find_the_other(argument - 1, me) };
    for nth in 1..=SIGNALS {
        if waits {
            signal(other, nth);
        }
        work(seed, nth);
        if !waits {
            signal(other, nth);
        }
    }
    let expected = (1..=SIGNALS).map(number).sum::<u64>();
    if (COUNT.load(Relaxed), SUM.load(Relaxed)) != (SIGNALS, expected) {
        fail("signals were lost or made up");
    }
    SYSTEM.exit(0)
}

fn number(nth: u64) -> u64 {
    16 + nth % NUMBERS
}

fn signal(other: Pid, nth: u64) {
    // The other may still be handling the last one, with one more waiting.
    while let Err(error) = SYSTEM.signal(other, number(nth)) {
        if error != Error::Exhausted {
            fail("the other is gone");
        }
        SYSTEM.sleep(1);
    }
}

/// Works until the nth signal has come.
fn work(seed: u64, nth: u64) {
    while COUNT.load(Relaxed) < nth {
        let (mut sum, mut back) = (seed, seed);
        for step in 0..8 {
            sum = sum.rotate_left(7) ^ step;
            SYSTEM.rest();
            back = back.rotate_left(7) ^ step;
        }
        if sum != back {
            fail("registers have changed under my hands");
        }
        SYSTEM.sleep(LOOK);
    }
    if COUNT.load(Relaxed) != nth {
        fail("a signal too many");
    }
}

fn wait_for_the_other(port: u64, me: u64) -> Pid {
    if SYSTEM.bind(port).is_err() {
        fail("the port is taken");
    }
    let Ok(message) = SYSTEM.receive(port) else { fail("nobody came") };
    let _ = SYSTEM.reply(message.sender, [me, 0]);
    message.sender
}

fn find_the_other(port: u64, me: u64) -> Pid {
    loop {
        match SYSTEM.call(port, [me, 0], NOTHING, 0) {
            Ok([other, _]) => return Pid(other as u32),
            Err(Error::NotFound) => SYSTEM.sleep(1),
            // The first signal was faster than the answer's last step.
            Err(_) => fail("the other does not answer"),
        }
    }
}

fn fail(why: &str) -> ! {
    SYSTEM.print(why);
    SYSTEM.exit(1)
}
