//! Addresses where a process has no memory: passed to the kernel, and accessed.

use abi::layout::{DIRECT_MAP, KERNEL_BASE, PAGE_SIZE, USER_END, USER_HEAP, USER_TEXT, USER_WINDOWS};
use abi::process::State;
use abi::syscall::Error;
use guest_user::system::{Lend, NOTHING, SYSTEM, read_word, write_word};

use super::memory::text_sum;
use super::messages::{ADD, INVERT};
use super::parts::{READER, SERVER};
use super::signals::signalled;
use super::{KILLED, LATE, PAGE_FAULT, PROTECTION_FAULT, SERVER_PORT, TESTER, Tests};

/// Addresses that are not its own.
const WILD: [u64; 9] = [
    0,
    USER_TEXT - 8,
    USER_HEAP,
    USER_WINDOWS,
    USER_END,
    DIRECT_MAP,
    DIRECT_MAP + 0x10_0000,
    KERNEL_BASE + 0x10_0000,
    0x8000_0000_0000,
];

pub(super) fn reader(which: u64) -> u64 {
    let _ = read_word(WILD[which as usize]);
    0
}

impl Tests {
    /// Addresses where this process has no memory or no right to it, or that are the kernel's.
    pub(super) fn wild_pointers(&mut self) {
        let text = text_sum();
        let wild = [
            0,
            USER_TEXT - PAGE_SIZE,
            USER_WINDOWS,
            self.heap + 64 * PAGE_SIZE,
            USER_END,
            DIRECT_MAP,
            KERNEL_BASE + 0x10_0000,
            0x8000_0000_0000,
            !(PAGE_SIZE - 1),
        ];
        let bad = Some(Error::BadAddress);
        let lend = |at| Lend { at, bytes: 64 };
        let post = wild.iter().all(|at| SYSTEM.post(TESTER, lend(*at), 1).err() == bad);
        self.check("no datagram from a wild pointer", post);
        // This datagram waits, and must not be lost to a collector that has nowhere to put it.
        write_word(self.heap, 77);
        let sent = SYSTEM.post(TESTER, lend(self.heap), 1).is_ok();
        let collect = wild.iter().all(|at| SYSTEM.collect(TESTER, lend(*at), 1).err() == bad);
        let read_only = SYSTEM.collect(TESTER, lend(USER_TEXT), 1).err() == bad;
        let behind = lend(self.heap + 1024);
        let there = SYSTEM.collect(TESTER, behind, 1).is_ok() && read_word(behind.at) == 77;
        self.check("none to a wild pointer either", sent && collect && there);
        self.check("nor into program text", read_only && text_sum() == text);

        let server = self.start(SERVER, 0);
        let ready = self.until(server, State::Receiving);
        let places = wild.iter().chain(&[USER_TEXT]);
        let loans = places.clone().all(|at| SYSTEM.call(SERVER_PORT, [INVERT, 0], lend(*at), 5).err() == bad);
        let alive = SYSTEM.call(SERVER_PORT, [ADD, 1], NOTHING, LATE) == Ok([2, 0]);
        self.check("nothing wild is lent", ready && loans && alive && text_sum() == text);

        let from = wild.iter().all(|at| SYSTEM.examine(server, *at, self.heap, 64).err() == bad);
        let to = places.clone().all(|at| SYSTEM.examine(server, USER_TEXT, *at, 64).err() == bad);
        self.check("nothing wild is examined", from && to && text_sum() == text);
        // The word that would be written there ends 8 bytes further on.
        let tops = places.clone().all(|at| SYSTEM.handle(signalled, at + 16).err() == bad);
        self.check("no return stack is wild", tops && text_sum() == text);
        let _ = SYSTEM.kill(server);
        self.ends("the server was not harmed", server, KILLED);

        let mut faults = [false; WILD.len()];
        for (which, right) in faults.iter_mut().enumerate() {
            let child = self.start(READER, which as u64);
            // An address that cannot be is a fault of another kind; a window that is not there gets a spare
            // page.
            let wanted = match WILD[which] {
                USER_WINDOWS => 0,
                0x8000_0000_0000 => PROTECTION_FAULT,
                _ => PAGE_FAULT,
            };
            *right = self.status(child) == Some(wanted);
        }
        self.check("a wild read is its reader's end", faults == [true; WILD.len()]);
    }
}
