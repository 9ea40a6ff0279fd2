//! A network server: enciphers the text that clients lend it, in place, and echoes datagrams. It accepts
//! several requests before it answers the oldest, so that many loans are in flight at once.
#![no_std]
#![no_main]

use abi::syscall::{DATAGRAM_BYTES, Error};
use guest_user::system::{Lend, Received, SYSTEM, read_word, stop, write_word};

guest_user::program!(run);

/// Requests that it holds before it answers one.
const BATCH: usize = 6;
/// Its second port, for datagrams, is this much further on.
const DATAGRAMS: u64 = 200;
/// Ticks that it waits for requests, and then for datagrams.
const TURN: u64 = 10;
/// Ticks after which a datagram without room is given up.
const PATIENCE: u64 = 50;
/// Eight equal bytes in a word.
const EACH: u64 = 0x0101_0101_0101_0101;

/// `argument` is the port to serve.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let mail = argument + DATAGRAMS;
    if SYSTEM.bind(argument).is_err() || SYSTEM.bind(mail).is_err() {
        SYSTEM.print("the port is taken");
        SYSTEM.exit(1);
    }
    let Ok(at) = SYSTEM.grow(1) else { SYSTEM.exit(0) };
    let mut held: [Option<Received>; BATCH] = [None; BATCH];
    let mut count = 0;
    loop {
        match SYSTEM.receive_within(argument, TURN) {
            Ok(message) => {
                held[count] = Some(message);
                count += 1;
                if count == BATCH {
                    answer(&mut held, &mut count, seed);
                }
            }
            // No more are coming: those that are here need not wait.
            Err(Error::TimedOut) => {
                answer(&mut held, &mut count, seed);
                echo(mail, at);
            }
            Err(Error::Interrupted) => {}
            Err(_) => stop(),
        }
    }
}

/// Answers the oldest request, if there is one.
fn answer(held: &mut [Option<Received>; BATCH], count: &mut usize, seed: u64) {
    let Some(message) = held[0].take() else { return };
    held.rotate_left(1);
    *count -= 1;
    let key = (message.words[0] ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
    let mut sum = 0u64;
    for at in (message.window..message.window + message.bytes).step_by(8) {
        let text = encipher(read_word(at), key);
        write_word(at, text);
        sum = sum.wrapping_add(text);
    }
    // A client that has given up meanwhile gets no answer.
    let _ = SYSTEM.reply(message.sender, [key, sum]);
}

/// Sends back the datagrams that have come.
fn echo(mail: u64, at: u64) {
    while let Ok(datagram) = SYSTEM.collect(mail, Lend { at, bytes: DATAGRAM_BYTES }, TURN) {
        if datagram.damaged {
            SYSTEM.print("a datagram came damaged");
            SYSTEM.exit(1);
        }
        let _ = SYSTEM.post(read_word(at), Lend { at, bytes: datagram.bytes }, PATIENCE);
    }
}

/// Eight letters from a to p, moved on by `key` and put into upper case.
fn encipher(text: u64, key: u64) -> u64 {
    let letters = text.wrapping_sub(EACH * 0x61) & (EACH * 15);
    (letters.wrapping_add(EACH * (key & 15)) & (EACH * 15)) | (EACH * 0x40)
}
