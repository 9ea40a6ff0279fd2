//! A talker: sends datagrams to a partner that sends them back, a few at a time, and checks each echo: that
//! it is one of its own, that none came twice or out of order, and that every word is intact. An echo that
//! does not come in time counts as lost, which datagrams may be.
#![no_std]
#![no_main]

use abi::Pid;
use abi::syscall::{Error, Load};
use guest_user::system::{Choices, Lend, SYSTEM, read_word, write_word};

guest_user::program!(run);

/// Its own port counts from here, by slot in the process table, so that no two living processes have the
/// same.
const PORTS: u64 = 4096;
/// Datagrams on their way at once: as many as can wait at one port, so that no echo finds the own one full.
/// The partner's may be, and then one waits at the gateway.
const WINDOW: u64 = 8;
/// Shortest and longest datagram, words: the port to send the echo to, the number, the data, their sum.
const SHORTEST: u64 = 4;
const LONGEST: u64 = 30;
/// Longest rest between two rounds, ticks.
const REST: u64 = 100;

/// `argument` is the port of its partner.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    let own = PORTS + Pid(me as u32).slot() as u64;
    if SYSTEM.bind(own).is_err() {
        SYSTEM.print("the port is taken");
        SYSTEM.exit(1);
    }
    let Ok(at) = SYSTEM.grow(1) else { SYSTEM.exit(0) };
    let patience = SYSTEM.load(Load::Patience);
    let mut choices = Choices::new(seed);
    let (mut sent, mut seen) = (0u64, 0u64);
    SYSTEM.arrive(&mut choices);
    loop {
        let (mut away, batch) = (0, 1 + choices.below(WINDOW));
        while away < batch {
            let words = SHORTEST + choices.below(LONGEST - SHORTEST + 1);
            write(at, words, own, sent + 1, seed);
            match SYSTEM.post(argument, Lend { at, bytes: words * 8 }, patience) {
                Ok(()) => (sent, away) = (sent + 1, away + 1),
                // The partner may have ended, or not have started yet.
                Err(_) => break,
            }
        }
        while away > 0 {
            match SYSTEM.collect(own, Lend { at, bytes: LONGEST * 8 }, patience) {
                Ok(echo) => {
                    let number = read_word(at + 8);
                    if echo.damaged || !right(at, echo.bytes, own, seed) {
                        SYSTEM.print("this is not what I sent");
                        SYSTEM.exit(1);
                    }
                    if number <= seen || number > sent {
                        SYSTEM.print("the order is wrong");
                        SYSTEM.exit(1);
                    }
                    seen = number;
                    away -= 1;
                }
                Err(Error::Interrupted) => {}
                Err(_) => break,
            }
        }
        SYSTEM.sleep(1 + choices.below(REST));
    }
}

/// The datagram with this number.
fn write(at: u64, words: u64, own: u64, number: u64, seed: u64) {
    write_word(at, own);
    write_word(at + 8, number);
    let mut sum = own.wrapping_add(number);
    for place in 2..words - 1 {
        let word = value(seed, number, place);
        write_word(at + place * 8, word);
        sum = sum.wrapping_add(word);
    }
    write_word(at + (words - 1) * 8, sum);
}

/// Whether an echo is what was sent: every word of it, and the sum.
fn right(at: u64, bytes: u64, own: u64, seed: u64) -> bool {
    let words = bytes / 8;
    if !bytes.is_multiple_of(8) || words < SHORTEST || read_word(at) != own {
        return false;
    }
    let number = read_word(at + 8);
    let mut sum = own.wrapping_add(number);
    for place in 2..words - 1 {
        let word = read_word(at + place * 8);
        if word != value(seed, number, place) {
            return false;
        }
        sum = sum.wrapping_add(word);
    }
    read_word(at + (words - 1) * 8) == sum
}

fn value(seed: u64, number: u64, place: u64) -> u64 {
    let word = (seed ^ number << 8 ^ place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word ^ word >> 29
}
