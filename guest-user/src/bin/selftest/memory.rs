//! Memory that is given when it is touched, its limits, and program text that all instances share.

use core::hint::black_box;

use abi::layout::{PAGE_SIZE, USER_HEAP, USER_HEAP_END, USER_STACK, USER_TEXT};
use abi::process::State;
use abi::syscall::{Call, Error};
use guest_user::system::{NOTHING, SYSTEM, read_word, restorer, system_call, write_word};

use super::parts::{BYSTANDER, DEEP, FILLER, HOARDER, RUNS_HEAP, WRITER};
use super::{LATE, PAGE_FAULT, PERSON, SERVER_PORT, Tests, first_wrong, pid_of, refusal};

pub(super) fn writer() -> u64 {
    let at = USER_TEXT;
    write_word(at, !read_word(at));
    0
}

pub(super) fn filler(seed: u64) -> u64 {
    const PAGES: u64 = 32;
    let Ok(heap) = SYSTEM.grow(PAGES) else { return 100 };
    let words = || (heap..heap + PAGES * PAGE_SIZE).step_by(8);
    if words().any(|at| read_word(at) != 0) {
        return 1;
    }
    words().for_each(|at| write_word(at, seed ^ at));
    if words().any(|at| read_word(at) != seed ^ at) {
        return 2;
    }
    0
}

/// Takes the whole heap; with `beyond` other than 0 it also touches what comes after.
pub(super) fn hoarder(beyond: u64) -> u64 {
    let most = (USER_HEAP_END - USER_HEAP) / PAGE_SIZE;
    let (first, second) = (SYSTEM.grow(1), SYSTEM.grow(2));
    let wrong = first_wrong(&[
        first == Ok(USER_HEAP),
        second == Ok(USER_HEAP + PAGE_SIZE),
        SYSTEM.grow(0) == Err(Error::Invalid),
        SYSTEM.grow(most) == Err(Error::Invalid),
        refusal(Call::Grow, [u64::MAX, 0, 0, 0, 0, 0]) == Some(Error::Invalid),
        SYSTEM.grow(most - 3) == Ok(USER_HEAP + 3 * PAGE_SIZE),
        SYSTEM.grow(1) == Err(Error::Invalid),
        read_word(USER_HEAP_END - 8) == 0,
    ]);
    if beyond != 0 {
        write_word(USER_HEAP_END, 1);
    }
    wrong
}

/// Uses all of its stack; with `beyond` other than 0 more than that.
pub(super) fn deep(beyond: u64) -> u64 {
    if nested(40) != 40 * 41 / 2 {
        return 1;
    }
    // Where nothing has been called so far.
    if read_word(USER_STACK) != 0 {
        return 2;
    }
    write_word(USER_STACK, beyond);
    if beyond != 0 {
        write_word(USER_STACK - 8, beyond);
    }
    u64::from(read_word(USER_STACK) != beyond)
}

/// The sum up to `depth`, with a kilobyte of stack for each number.
fn nested(depth: u64) -> u64 {
    let mut room = [0u64; 128];
    room[(depth % 128) as usize] = depth;
    let room = black_box(&mut room);
    let below = if depth == 0 { 0 } else { nested(depth - 1) };
    below + room[(depth % 128) as usize]
}

/// A sum over the first page of program text.
pub(super) fn text_sum() -> u64 {
    let words = (USER_TEXT..USER_TEXT + PAGE_SIZE).step_by(8);
    words.fold(0u64, |sum, at| sum.rotate_left(1).wrapping_add(read_word(at)))
}

pub(super) fn runs_heap(me: u64) -> u64 {
    let Ok(heap) = SYSTEM.grow(2) else { return 100 };
    // A return instruction.
    write_word(heap, 0xc3c3_c3c3_c3c3_c3c3);
    let arguments = [heap, heap + 2 * PAGE_SIZE, restorer(), 0, 0, 0];
    if system_call(Call::Handle as u64, arguments).0 != 0 {
        return 1;
    }
    let _ = SYSTEM.signal(pid_of(me), 20);
    0
}

impl Tests {
    pub(super) fn memory(&mut self) {
        self.plays("fresh pages are zero", FILLER, 0, PERSON, 0);
        self.plays("so are pages of the dead", FILLER, 0, PERSON, 0);
        self.plays("the heap grows to its limit", HOARDER, 0, PERSON, 0);
        self.plays("and not beyond", HOARDER, 1, PERSON, PAGE_FAULT);
        self.plays("the stack grows to its limit", DEEP, 0, PERSON, 0);
        self.plays("and no further", DEEP, 1, PERSON, PAGE_FAULT);
        self.plays("the heap cannot be run", RUNS_HEAP, 0, PERSON, PAGE_FAULT);

        let text = text_sum();
        let other = self.start(BYSTANDER, 0);
        self.until(other, State::Receiving);
        self.plays("program text cannot be written", WRITER, 0, PERSON, PAGE_FAULT);
        self.plays("not by root either", WRITER, 0, 0, PAGE_FAULT);
        let asked = SYSTEM.call(SERVER_PORT, [0; 2], NOTHING, LATE).is_ok();
        self.check("the text that all share is whole", asked && text_sum() == text);
        self.ends("who shares it was not harmed", other, 0);
    }
}
