//! A front server: enciphers the text that clients lend it, in place, with a key that it asks of the store.
#![no_std]
#![no_main]

use guest_user::system::{NOTHING, SYSTEM, read_word, stop, write_word};

guest_user::program!(run);

/// The store's port.
const STORE: u64 = 2100;
/// Eight equal bytes in a word.
const EACH: u64 = 0x0101_0101_0101_0101;

/// `argument` is the port to serve.
fn run(argument: u64, _seed: u64, _me: u64) -> ! {
    if SYSTEM.bind(argument).is_err() {
        SYSTEM.print("the port is taken");
        SYSTEM.exit(1);
    }
    let Ok(mut message) = SYSTEM.receive(argument) else { stop() };
    loop {
        // The store takes a while, and the client waits.
        let key = match SYSTEM.call(STORE, [message.words[0], 0], NOTHING, 0) {
            Ok([key, _]) => key,
            Err(_) => 0,
        };
        let mut sum = 0u64;
        for at in (message.window..message.window + message.bytes).step_by(8) {
            let text = encipher(read_word(at), key);
            write_word(at, text);
            sum = sum.wrapping_add(text);
        }
        message = match SYSTEM.reply_receive(message.sender, [key, sum], argument) {
            Ok(next) => next,
            Err(_) => stop(),
        };
    }
}

/// Eight letters from a to p, moved on by `key` and put into upper case.
fn encipher(text: u64, key: u64) -> u64 {
    let letters = text.wrapping_sub(EACH * 0x61) & (EACH * 15);
    (letters.wrapping_add(EACH * (key & 15)) & (EACH * 15)) | (EACH * 0x40)
}
