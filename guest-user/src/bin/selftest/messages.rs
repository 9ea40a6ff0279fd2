//! Messages and loans between a client and a server; ports and answers that belong to others.

use abi::Pid;
use abi::layout::PAGE_SIZE;
use abi::process::State;
use abi::syscall::{Error, Query};
use guest_user::system::{Lend, NOTHING, SYSTEM, read_word, write_word};

use super::parts::{SERVER, STRANGER};
use super::{LATE, NOBODY, PERSON, SERVER_PORT, TESTER, Tests, first_wrong, pid_of};

/// What is asked of the server, in the first word.
/// What is asked of the server, in the first word.
pub(super) const ADD: u64 = 1;
pub(super) const INVERT: u64 = 2;
const IGNORE: u64 = 3;
const LEAVE: u64 = 4;

pub(super) fn serve() -> u64 {
    if SYSTEM.bind(SERVER_PORT).is_err() {
        return 1;
    }
    loop {
        let Ok(message) = SYSTEM.receive(SERVER_PORT) else { return 2 };
        let answer = match message.words[0] {
            ADD => [message.words[1] + 1, u64::from(message.uid)],
            INVERT => {
                for at in (message.window..message.window + message.bytes).step_by(8) {
                    write_word(at, !read_word(at));
                }
                [message.bytes, 0]
            }
            IGNORE => continue,
            _ => return 0,
        };
        let _ = SYSTEM.reply(message.sender, answer);
    }
}

pub(super) fn stranger() -> u64 {
    let Ok(heap) = SYSTEM.grow(1) else { return 100 };
    let room = Lend { at: heap, bytes: 64 };
    first_wrong(&[
        SYSTEM.receive_within(TESTER, 1).err() == Some(Error::Denied),
        SYSTEM.collect(TESTER, room, 1).err() == Some(Error::Denied),
        SYSTEM.bind(TESTER) == Err(Error::Invalid),
        SYSTEM.receive_within(NOBODY, 1).err() == Some(Error::NotFound),
        SYSTEM.bind(80) == Err(Error::Denied),
        SYSTEM.bind(1023) == Err(Error::Denied),
        SYSTEM.bind(1024) == Ok(()),
    ])
}

impl Tests {
    pub(super) fn messages(&mut self) {
        let server = self.start(SERVER, 0);
        let there = self.until(server, State::Receiving);
        let answer = SYSTEM.call(SERVER_PORT, [ADD, 41], NOTHING, LATE);
        self.check("a call brings an answer", there && answer == Ok([42, 0]));

        let (first, last) = (self.heap, self.heap + 3 * PAGE_SIZE);
        for at in (first..last + PAGE_SIZE).step_by(8) {
            write_word(at, at);
        }
        let loan = Lend { at: first + PAGE_SIZE, bytes: 2 * PAGE_SIZE };
        let answer = SYSTEM.call(SERVER_PORT, [INVERT, 0], loan, LATE);
        let inverted = (loan.at..last).step_by(8).all(|at| read_word(at) == !at);
        let spared = (first..loan.at).chain(last..last + PAGE_SIZE).step_by(8).all(|at| read_word(at) == at);
        self.check("a loan is answered in place", answer == Ok([loan.bytes, 0]) && inverted && spared);

        let before = SYSTEM.query(Query::Tick);
        let unanswered = SYSTEM.call(SERVER_PORT, [IGNORE, 0], loan, 5);
        let waited = SYSTEM.query(Query::Tick) - before;
        self.check("a call times out", unanswered == Err(Error::TimedOut) && waited >= 5);
        let late = SYSTEM.call(SERVER_PORT, [ADD, 1], NOTHING, LATE);
        self.check("the server goes on after it", late == Ok([2, 0]));
        let left = SYSTEM.call(SERVER_PORT, [LEAVE, 0], NOTHING, LATE);
        self.check("who asks a dying server is told", left == Err(Error::Dead));
        self.ends("the server is gone", server, 0);
        let gone = SYSTEM.call(SERVER_PORT, [ADD, 0], NOTHING, LATE);
        self.check("a port closes with its owner", gone == Err(Error::NotFound));

        self.plays("foreign and low ports are refused", STRANGER, 0, PERSON, 0);
        let low = SYSTEM.bind(900);
        self.check("root has a privileged port", low == Ok(()));
        let me = pid_of(self.me);
        let refused = [
            SYSTEM.reply(Pid::new(250, 9), [0; 2]) == Err(Error::Dead),
            SYSTEM.reply(me, [0; 2]) == Err(Error::Dead),
            SYSTEM.call(TESTER, [0; 2], NOTHING, 1) == Err(Error::Invalid),
        ];
        self.check("answers without a question are not", refused == [true; 3]);
    }
}
