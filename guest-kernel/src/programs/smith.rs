//! Smith: an Agent for messages that is a server as well. It keeps the directory of names, and answers in place, inside
//! the loan: whoever lends it a list of names gets back a list of ports.
//!
//! `(name, port)` puts a name into the directory, `(name, 0)` asks for it; a loan's words are names that are all
//! asked for at once. The answer is the port, or 0; for a list, how many were found.
#![no_std]
#![no_main]

use abi::agents::Class;
use abi::syscall::Error;
use guest_kernel::agency::Agent;
use guest_kernel::user::{Received, SYSTEM, read_word, stop, write_word};

guest_kernel::program!(run);

/// Ticks after which it looks at what was tapped, messages or none.
const REST: u64 = 4;
/// Names in the directory.
const NAMES: usize = 32;

/// An entry: who may change it, and what it says.
#[derive(Clone, Copy)]
struct Entry {
    name: u64,
    port: u64,
    uid: u32,
}

/// The directory.
struct Directory {
    entries: [Entry; NAMES],
    count: usize,
}

impl Directory {
    fn find(&self, name: u64) -> u64 {
        self.entries[..self.count].iter().find(|entry| entry.name == name).map_or(0, |entry| entry.port)
    }

    /// Puts a name in, or changes it if it is the caller's; gives the port, or 0 if that cannot be.
    fn put(&mut self, name: u64, port: u64, uid: u32) -> u64 {
        if let Some(entry) = self.entries[..self.count].iter_mut().find(|entry| entry.name == name) {
            if entry.uid != uid && uid != 0 {
                return 0;
            }
            entry.port = port;
            return port;
        }
        match self.entries.get_mut(self.count) {
            Some(entry) => {
                *entry = Entry { name, port, uid };
                self.count += 1;
                port
            }
            None => 0,
        }
    }

    fn serve(&mut self, message: &Received) -> u64 {
        let [name, port] = message.words;
        if message.bytes == 0 {
            return if port == 0 { self.find(name) } else { self.put(name, port, message.uid) };
        }
        let mut found = 0;
        let words = message.bytes / 8;
        for at in (0..words).map(|word| message.window + word * 8) {
            let port = self.find(read_word(at));
            write_word(at, port);
            found += u64::from(port != 0);
        }
        found
    }
}

/// `argument` is the port to serve.
fn run(argument: u64, _seed: u64, _me: u64) -> ! {
    if SYSTEM.bind(argument).is_err() {
        SYSTEM.print("the port is taken");
        SYSTEM.exit(1);
    }
    let mut agent = Agent::enlist(Class::Messages);
    let mut directory = Directory { entries: [Entry { name: 0, port: 0, uid: 0 }; NAMES], count: 0 };
    let mut next = SYSTEM.receive_within(argument, REST);
    loop {
        next = match next {
            Ok(message) => {
                let answer = directory.serve(&message);
                agent.look();
                SYSTEM.reply_receive_within(message.sender, [answer, 0], argument, REST)
            }
            Err(Error::TimedOut | Error::Interrupted | Error::Exhausted) => {
                agent.look();
                SYSTEM.receive_within(argument, REST)
            }
            Err(_) => stop(),
        };
    }
}
