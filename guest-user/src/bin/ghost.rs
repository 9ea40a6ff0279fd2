//! One of a pair of old programs, made for version 2 of the system calls: one posts words, the other receives
//! and counts them.
#![no_std]
#![no_main]

use abi::Pid;
use abi::compat::{V2_EXIT, V2_POST_WORD, V2_STAT, V2_YIELD};
use abi::process::State;
use abi::syscall::Error;
use guest_user::system::{Choices, NOTHING, SYSTEM, stop};

guest_user::program!(run);

/// Words that are posted.
const WORDS: u64 = 40;
/// Longest rest between two words, ticks.
const REST: u64 = 4;

/// `argument` is the port where the pair meet, of the one that receives; the other has the next number.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    if argument.is_multiple_of(2) { receive(argument, me) } else { post(argument - 1, seed) }
}

fn receive(port: u64, me: u64) -> ! {
    if SYSTEM.bind(port).is_err() {
        fail("the port is taken");
    }
    let Ok(message) = SYSTEM.receive(port) else { fail("nobody came") };
    let _ = SYSTEM.reply(message.sender, [me, 0]);
    for nth in 1..=WORDS {
        match SYSTEM.receive(port) {
            Ok(word) if (word.sender, word.words[0]) == (message.sender, nth) => {}
            _ => fail("a word was lost or made up"),
        }
        let _ = SYSTEM.old(V2_YIELD, [0; 2]);
    }
    exit(0)
}

fn post(port: u64, seed: u64) -> ! {
    let mut choices = Choices::new(seed);
    let to = loop {
        match SYSTEM.call(port, [0; 2], NOTHING, 0) {
            Ok([to, _]) => break Pid(to as u32),
            Err(Error::NotFound) => SYSTEM.sleep(1),
            Err(_) => fail("the other does not answer"),
        }
    };
    for nth in 1..=WORDS {
        while !matches!(SYSTEM.old(V2_STAT, [u64::from(to.0), 0]), Ok([state, ..]) if state == State::Receiving as u64)
        {
            SYSTEM.sleep(1);
        }
        if SYSTEM.old(V2_POST_WORD, [u64::from(to.0), nth]).is_err() {
            fail("a word was not taken");
        }
        SYSTEM.sleep(1 + choices.below(REST));
    }
    exit(0)
}

fn fail(why: &str) -> ! {
    SYSTEM.print(why);
    exit(1)
}

fn exit(status: u64) -> ! {
    let _ = SYSTEM.old(V2_EXIT, [status, 0]);
    stop()
}
