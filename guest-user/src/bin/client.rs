//! A client: writes texts of some pages, has a front server encipher them in place, one after the other, and
//! keeps them. Before each request and before it exits, it checks all of them word by word. It exits when its
//! requests are done, or when an answer does not come in time.
#![no_std]
#![no_main]

use abi::layout::PAGE_SIZE;
use abi::syscall::{Error, Load};
use guest_user::system::{Choices, Lend, SYSTEM, read_word, write_word};

guest_user::program!(run);

/// Port of the first front server; the others follow.
const FRONT: u64 = 2000;
/// Eight equal bytes in a word.
const EACH: u64 = 0x0101_0101_0101_0101;
/// Texts that it keeps.
const TEXTS: usize = 3;
/// Longest rest between two requests, ticks.
const REST: u64 = 12;

/// `argument` is its account at the store.
fn run(argument: u64, seed: u64, _me: u64) -> ! {
    let (pages, patience) = (SYSTEM.load(Load::Pages), SYSTEM.load(Load::Patience));
    let (rounds, fronts) = (SYSTEM.load(Load::Rounds), SYSTEM.load(Load::Fronts));
    let mut choices = Choices::new(seed);
    SYSTEM.arrive(&mut choices);
    let Ok(at) = SYSTEM.grow(pages * TEXTS as u64) else { SYSTEM.exit(0) };
    let port = FRONT + choices.below(fronts);
    let bytes = pages * PAGE_SIZE;
    let mut texts: [Text; TEXTS] =
        core::array::from_fn(|place| Text::new(at + place as u64 * bytes, bytes, &mut choices));
    for round in 0..rounds {
        let place = round as usize % TEXTS;
        if texts[place].key.is_some() {
            texts[place] = Text::new(texts[place].buffer.at, bytes, &mut choices);
        }
        for text in &texts {
            text.check();
        }
        match SYSTEM.call(port, [argument, 0], texts[place].buffer, patience) {
            Ok([key, sum]) => {
                texts[place].key = Some(key);
                if texts[place].check() != sum {
                    SYSTEM.print("the sum is wrong");
                    SYSTEM.exit(1);
                }
            }
            Err(Error::TimedOut) => {
                // The server may still be working on the one that was lent.
                for (_, text) in texts.iter().enumerate().filter(|(other, _)| *other != place) {
                    text.check();
                }
                SYSTEM.exit(0);
            }
            Err(_) => {}
        }
        SYSTEM.sleep(1 + choices.below(REST));
    }
    SYSTEM.exit(0)
}

/// A text: where it is, what it says, and the key that it was enciphered with, if it was.
struct Text {
    buffer: Lend,
    seed: u64,
    key: Option<u64>,
}

impl Text {
    /// Writes a new one.
    fn new(at: u64, bytes: u64, choices: &mut Choices) -> Self {
        let seed = choices.any();
        for at in (at..at + bytes).step_by(8) {
            write_word(at, plain(seed, at));
        }
        Self { buffer: Lend { at, bytes }, seed, key: None }
    }

    /// Compares every word with what it must be; returns their sum.
    fn check(&self) -> u64 {
        let Lend { at, bytes } = self.buffer;
        let mut sum = 0u64;
        for at in (at..at + bytes).step_by(8) {
            let plain = plain(self.seed, at);
            let right = match self.key {
                None => plain,
                Some(key) => {
                    let letters = plain.wrapping_sub(EACH * 0x61).wrapping_add(EACH * (key & 15));
                    (letters & (EACH * 15)) | (EACH * 0x40)
                }
            };
            let word = read_word(at);
            if word != right {
                SYSTEM.print("this is not what I wrote");
                SYSTEM.exit(1);
            }
            sum = sum.wrapping_add(word);
        }
        sum
    }
}

/// The word of plain text at `at`: eight letters from a to p.
fn plain(text: u64, at: u64) -> u64 {
    let word = (text ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((word ^ (word >> 29)) & (EACH * 15)).wrapping_add(EACH * 0x61)
}
