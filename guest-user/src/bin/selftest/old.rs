//! Programs of versions 1 and 2.

use abi::Pid;
use abi::compat::{V1_BRK, V1_EXIT, V1_NICE, V1_SLEEP, V2_EXIT, V2_POST_WORD, V2_STAT, V2_YIELD};
use abi::layout::{PAGE_SIZE, USER_HEAP, USER_HEAP_END};
use abi::process::State;
use abi::syscall::{Error, Query};
use guest_user::system::{SYSTEM, read_word};

use super::parts::{OLD_1, OLD_2};
use super::{LATE, PERSON, TESTER, Tests, first_wrong};

pub(super) fn old_1(status: u64) -> u64 {
    let tick = SYSTEM.query(Query::Tick);
    let old = |number, argument| SYSTEM.old(number, [argument, 0]);
    let end = USER_HEAP + 2 * PAGE_SIZE;
    let wrong = first_wrong(&[
        old(V1_NICE, 1).is_ok(),
        matches!(old(V1_BRK, 0), Ok([USER_HEAP, ..])),
        old(V1_BRK, end).is_ok(),
        matches!(old(V1_BRK, 0), Ok([at, ..]) if at == end),
        old(V1_BRK, USER_HEAP).err() == Some(Error::Invalid),
        old(V1_BRK, USER_HEAP_END + 1).err() == Some(Error::Invalid),
        read_word(end - 8) == 0,
        old(V1_SLEEP, 3).is_ok(),
        SYSTEM.query(Query::Tick) >= tick + 3,
        old(V1_NICE + 1, 0).err() == Some(Error::Invalid),
    ]);
    let _ = old(V1_EXIT, if wrong == 0 { status } else { wrong });
    u64::MAX
}

pub(super) fn old_2(tester: u64) -> u64 {
    let old = |number, arguments| SYSTEM.old(number, arguments);
    let wrong = first_wrong(&[
        old(V2_YIELD, [0; 2]).is_ok(),
        matches!(old(V2_STAT, [tester, 0]), Ok([state, entries, 0]) if state == State::Receiving as u64 && entries > 0),
        old(V2_STAT, [u64::from(Pid::new(250, 9).0), 0]).err() == Some(Error::Dead),
        old(V2_POST_WORD, [tester, 1234]).is_ok(),
        old(V2_STAT + 1, [0; 2]).err() == Some(Error::Invalid),
    ]);
    let _ = old(V2_EXIT, [if wrong == 0 { 34 } else { wrong }, 0]);
    u64::MAX
}

impl Tests {
    pub(super) fn old_programs(&mut self) {
        self.plays("version 1 works", OLD_1, 33, PERSON, 33);
        let child = self.start(OLD_2, self.me);
        let word = SYSTEM.receive_within(TESTER, LATE);
        let right = word.is_ok_and(|word| word.sender == child && word.words[0] == 1234);
        self.check("a word of version 2 arrives", right);
        self.ends("version 2 works", child, 34);
    }
}
