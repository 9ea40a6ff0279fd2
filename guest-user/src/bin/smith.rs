//! Smith: an Agent that is a server as well. It keeps a directory of names, and answers in place, inside the
//! loan: whoever lends it a list of names gets the ports beside them.
//!
//! `(name, port)` enters a name into the directory for a while, `(name, 0)` asks for it; a loan holds
//! [`RECORDS`] records at most, a name and room for its port each. The answer is the port, or 0; for a list,
//! how many were found; and with it this directory's own number, by which one that was started again is told
//! from the one before.
//!
//! A name that is not there is asked of the store, which is slow; whoever has lent the list waits as long.
#![no_std]
#![no_main]

use abi::agents::Class;
use abi::syscall::FIRST_OPEN_PORT;
use abi::syscall::{Error, Query};
use guest_user::agency::Agent;
use guest_user::directory::{DIRECTORIES, Directory, RECORD_BYTES, RECORDS};
use guest_user::system::{NOTHING, Received, SYSTEM, read_word, stop, write_word};

guest_user::program!(run);

/// Ticks after which it looks at what was tapped, messages or none.
const REST: u64 = 4;
/// Rests for which it waits for its port to become free.
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

    /// Puts the ports beside the names of a list, when it has them all; gives how many were found.
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

/// `argument` is the port to serve. The first directory's keeper looks at messages, the second's at ports,
/// the third's at memory; there is no more to look at for further ones, which are directories and nothing
/// else.
fn run(argument: u64, _seed: u64, me: u64) -> ! {
    // Whoever had it before may still be on his way out. A port that anybody may have is no directory's.
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
