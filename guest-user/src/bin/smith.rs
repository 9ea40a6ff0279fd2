//! Smith: an Agent that is also a server. It keeps a directory of names and answers in place, inside the
//! loan: a client that lends it a list of names gets the ports beside them.
//!
//! `(name, port)` enters a name into the directory for a while, `(name, 0)` asks for it; a loan holds at most
//! [`RECORDS`] records, a name and room for its port each. The answer is the port, or 0; for a list, the
//! number of names that were found. The second word is the directory's own number, which differs after a
//! restart.
//!
//! A name that the directory does not know is asked of the store, which is slow; the lender of the list waits
//! as long.
#![no_std]
#![no_main]

use abi::agents::Class;
use abi::syscall::FIRST_OPEN_PORT;
use abi::syscall::{Error, Query};
use guest_user::agency::Agent;
use guest_user::directory::{DIRECTORIES, Directory, RECORD_BYTES, RECORDS};
use guest_user::system::{NOTHING, Received, SYSTEM, read_word, stop, write_word};

guest_user::program!(run);

/// Ticks after which it inspects taps, with or without messages.
const REST: u64 = 4;
/// Rests that it takes while it waits for its port to become free.
const PATIENCE: u64 = 4;
/// The store's port, and what it is asked for.
const STORE: u64 = 2100;
const NAME: u64 = 1;

/// The directory, and its number.
struct Desk {
    directory: Directory,
    me: u64,
}

impl Desk {
    fn serve(&mut self, message: &Received, now: u64) -> [u64; 2] {
        let [name, port] = message.words;
        let answer = if message.bytes != 0 {
            self.fill(message, now)
        } else if port == 0 {
            self.directory.find(name, now)
        } else {
            self.directory.enter(name, port, message.uid, now)
        };
        [answer, self.me]
    }

    /// Writes the ports beside the names of a list once it has them all; returns how many were found.
    fn fill(&self, list: &Received, now: u64) -> u64 {
        let records = (list.bytes / RECORD_BYTES).min(RECORDS);
        let mut ports = [0; RECORDS as usize];
        for (nth, port) in (0..records).zip(&mut ports) {
            let name = read_word(list.window + nth * RECORD_BYTES);
            *port = match self.directory.find(name, now) {
                0 => SYSTEM.call(STORE, [name, NAME], NOTHING, 0).map_or(0, |[port, _]| port),
                port => port,
            };
        }
        for (nth, port) in (0..records).zip(&ports) {
            write_word(list.window + nth * RECORD_BYTES + 8, *port);
        }
        ports.iter().filter(|port| **port != 0).count() as u64
    }
}

/// `argument` is the port to serve. The keeper of the first directory inspects messages, that of the second
/// ports, that of the third memory; further ones are directories only.
fn run(argument: u64, _seed: u64, me: u64) -> ! {
    // The port's former owner may still be ending. A port that any process may bind is no directory's.
    let mut patience = PATIENCE;
    while argument >= FIRST_OPEN_PORT || SYSTEM.bind(argument).is_err() {
        if patience == 0 {
            SYSTEM.print("the port is taken");
            SYSTEM.exit(1);
        }
        patience -= 1;
        SYSTEM.sleep(REST);
    }
    let mut agent = Class::from_raw(argument.wrapping_sub(DIRECTORIES)).map(Agent::enlist);
    let mut desk = Desk { directory: Directory::new(), me };
    let mut next = SYSTEM.receive_within(argument, REST);
    loop {
        let now = agent.as_mut().map_or_else(|| SYSTEM.query(Query::Tick), Agent::inspect);
        next = match &next {
            Ok(message) => {
                let answer = desk.serve(message, now);
                SYSTEM.reply_receive_within(message.sender, answer, argument, REST)
            }
            Err(Error::TimedOut | Error::Interrupted | Error::Exhausted) => {
                SYSTEM.receive_within(argument, REST)
            }
            Err(_) => stop(),
        };
    }
}
