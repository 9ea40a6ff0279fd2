//! Smith: an Agent for messages that is a server as well. It keeps the directory of names, and answers in place, inside
//! the loan: whoever lends it a list of names gets back a list of ports.
//!
//! `(name, port)` enters a name into the directory for a while, `(name, 0)` asks for it; a loan's words are names that are
//! all asked for at once. The answer is the port, or 0; for a list, how many were found; and with it this directory's own
//! number, by which one that was started again is told from the one before.
//!
//! People come up in any order and ask for each other. So a list with a name that is not there yet is *held*: it is
//! answered when the last of its names has been entered, or when it has waited long enough. Several lists are held at
//! once, and as many loans.
#![no_std]
#![no_main]

use abi::agents::Class;
use abi::syscall::Error;
use guest_kernel::agency::Agent;
use guest_kernel::directory::Directory;
use guest_kernel::user::{Received, SYSTEM, read_word, stop, write_word};

guest_kernel::program!(run);

/// Ticks after which it looks at what was tapped, messages or none.
const REST: u64 = 4;
/// Lists that it holds at once. For one more the oldest is answered as it is.
const HELD: usize = 8;
/// Ticks for which it holds a list.
const HOLD: u64 = 8;

/// A list that waits for names.
#[derive(Clone, Copy)]
struct Held {
    list: Received,
    /// Its words before this one have all been found.
    next: u64,
    /// Tick at which it is answered as it is.
    until: u64,
}

/// The directory, and the lists that wait, the oldest first.
struct Desk {
    directory: Directory,
    held: [Option<Held>; HELD],
    count: usize,
    me: u64,
}

impl Desk {
    /// Serves a message; gives the answer if there is one already.
    fn serve(&mut self, message: &Received, now: u64) -> Option<[u64; 2]> {
        let [name, port] = message.words;
        if message.bytes != 0 {
            return self.take_in(message, now);
        }
        if port == 0 {
            return Some([self.directory.find(name, now), self.me]);
        }
        let entered = self.directory.enter(name, port, message.uid, now);
        if entered != 0 {
            self.answer(now, Some(name));
        }
        Some([entered, self.me])
    }

    /// Answers a list if all its names are there; otherwise holds it.
    fn take_in(&mut self, list: &Received, now: u64) -> Option<[u64; 2]> {
        let mut held = Held { list: *list, next: 0, until: now.saturating_add(HOLD) };
        if self.is_complete(&mut held, now) {
            return Some(self.fill(list, now));
        }
        if self.count == HELD {
            self.answer_one(0, now);
        }
        self.held[self.count] = Some(held);
        self.count += 1;
        None
    }

    /// Looks a list's names up from where it stopped the last time.
    fn is_complete(&self, held: &mut Held, now: u64) -> bool {
        while held.next < held.list.bytes / 8 {
            if self.directory.find(read_word(held.list.window + held.next * 8), now) == 0 {
                return false;
            }
            held.next += 1;
        }
        true
    }

    /// Answers the lists whose time is over, and those that `entered` was the last name for.
    fn answer(&mut self, now: u64, entered: Option<u64>) {
        let mut nth = 0;
        while let Some(mut held) = self.held.get(nth).copied().flatten() {
            let awaited = entered.is_some_and(|name| name == read_word(held.list.window + held.next * 8));
            let complete = awaited && self.is_complete(&mut held, now);
            if complete || held.until <= now {
                self.answer_one(nth, now);
            } else {
                self.held[nth] = Some(held);
                nth += 1;
            }
        }
    }

    fn answer_one(&mut self, nth: usize, now: u64) {
        let Some(Held { list, .. }) = self.held[nth].take() else { return };
        self.held[nth..self.count].rotate_left(1);
        self.count -= 1;
        let answer = self.fill(&list, now);
        // Whoever has given up meanwhile gets none.
        let _ = SYSTEM.reply(list.sender, answer);
    }

    /// Puts the ports in the place of the names.
    fn fill(&self, list: &Received, now: u64) -> [u64; 2] {
        let mut found = 0;
        for at in (0..list.bytes / 8).map(|word| list.window + word * 8) {
            let port = self.directory.find(read_word(at), now);
            write_word(at, port);
            found += u64::from(port != 0);
        }
        [found, self.me]
    }
}

/// `argument` is the port to serve.
fn run(argument: u64, _seed: u64, me: u64) -> ! {
    if SYSTEM.bind(argument).is_err() {
        SYSTEM.print("the port is taken");
        SYSTEM.exit(1);
    }
    let mut agent = Agent::enlist(Class::Messages);
    let mut desk = Desk { directory: Directory::new(), held: [None; HELD], count: 0, me };
    let mut next = SYSTEM.receive_within(argument, REST);
    loop {
        let now = agent.look();
        let answer = match &next {
            Ok(message) => desk.serve(message, now).map(|words| (message.sender, words)),
            Err(Error::TimedOut | Error::Interrupted | Error::Exhausted) => None,
            Err(_) => stop(),
        };
        desk.answer(now, None);
        next = match answer {
            Some((sender, words)) => SYSTEM.reply_receive_within(sender, words, argument, REST),
            None => SYSTEM.receive_within(argument, REST),
        };
    }
}
