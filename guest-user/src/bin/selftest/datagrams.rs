//! Datagrams: what passes the gateway, and what waits there.

use abi::process::State;
use abi::syscall::{DATAGRAM_BYTES, Error};
use guest_user::system::{Lend, SYSTEM, read_word, write_word};

use super::parts::POSTER;
use super::{LATE, NOBODY, PERSON, TESTER, Tests};

/// Datagrams sent in a row: more than fit in the queue of a port.
const DATAGRAMS: u64 = 20;
const QUEUE: u64 = 8;

fn datagram_bytes(nth: u64) -> u64 {
    1 + nth * 12 % DATAGRAM_BYTES
}

fn datagram_word(nth: u64, word: u64) -> u64 {
    (nth << 32 | word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub(super) fn poster() -> u64 {
    let Ok(heap) = SYSTEM.grow(1) else { return 100 };
    for nth in 0..DATAGRAMS {
        for word in 0..DATAGRAM_BYTES / 8 {
            write_word(heap + word * 8, datagram_word(nth, word));
        }
        if SYSTEM.post(TESTER, Lend { at: heap, bytes: datagram_bytes(nth) }, 0).is_err() {
            return 1 + nth;
        }
    }
    0
}

impl Tests {
    pub(super) fn datagrams(&mut self) {
        let at = self.heap;
        let room = Lend { at, bytes: DATAGRAM_BYTES };
        let poster = self.start(POSTER, 0);
        // All that fit are there before the first is collected.
        let gated = self.until(poster, State::Gated);
        let (mut right, mut ordered, mut last) = (true, true, 0);
        for nth in 0..DATAGRAMS {
            let bytes = datagram_bytes(nth);
            match SYSTEM.collect(TESTER, room, LATE) {
                Ok(got) => {
                    right &= got.sender == poster && u64::from(got.uid) == PERSON;
                    right &= got.bytes == bytes && !got.damaged;
                    right &= (0..bytes / 8).all(|word| read_word(at + word * 8) == datagram_word(nth, word));
                    ordered &= got.sequence > last;
                    last = got.sequence;
                }
                Err(_) => right = false,
            }
        }
        self.check("a sender waits at a full port", gated);
        self.check("datagrams come whole and in order", right);
        self.check("their numbers rise", ordered);
        self.ends("the sender has sent them all", poster, 0);

        (0..32).for_each(|word| write_word(at + word * 8, word));
        let sent = SYSTEM.post(TESTER, Lend { at, bytes: 64 }, 1);
        (0..32).for_each(|word| write_word(at + word * 8, u64::MAX));
        let got = SYSTEM.collect(TESTER, Lend { at, bytes: 20 }, 1);
        let cut = got.is_ok_and(|got| got.bytes == 20) && read_word(at + 8) == 1;
        // Of the third word only the lower half was there to be written.
        let spared = read_word(at + 16) == u64::MAX << 32 | 2
            && (3..32).all(|word| read_word(at + word * 8) == u64::MAX);
        self.check("what has no room is cut off", sent.is_ok() && cut && spared);

        let posted = (0..QUEUE).all(|_| SYSTEM.post(TESTER, Lend { at, bytes: 8 }, 1).is_ok());
        let full = SYSTEM.post(TESTER, Lend { at, bytes: 8 }, 3);
        let taken = (0..QUEUE).all(|_| SYSTEM.collect(TESTER, room, 1).is_ok());
        let empty = SYSTEM.collect(TESTER, room, 3).err();
        self.check("a full port times out", posted && full == Err(Error::TimedOut));
        self.check("an empty port times out", taken && empty == Some(Error::TimedOut));
        let refused = [
            SYSTEM.post(TESTER, Lend { at, bytes: DATAGRAM_BYTES + 1 }, 1).err() == Some(Error::Invalid),
            SYSTEM.post(TESTER, Lend { at: at + 1, bytes: 8 }, 1).err() == Some(Error::Invalid),
            SYSTEM.post(TESTER, Lend { at, bytes: u64::MAX }, 1).err() == Some(Error::Invalid),
            SYSTEM.post(NOBODY, Lend { at, bytes: 8 }, 1).err() == Some(Error::NotFound),
        ];
        self.check("odd datagrams are refused", refused == [true; 4]);
    }
}
