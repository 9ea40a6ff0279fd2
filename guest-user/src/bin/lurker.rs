//! The last step of a rootkit, as a subject for the search for hidden processes: by phone, in ring 0, it
//! removes its own entry from the process table. The scheduler has its own list, so the process runs on, but
//! a reader of the table does not see it. It keeps computing and checking its memory, so that it can be seen
//! to run. It disturbs no other process and sends no messages.
#![no_std]
#![no_main]

use core::mem::offset_of;

use abi::Pid;
use abi::info::{INFO_MAGIC, Info};
use abi::layout::{DIRECT_MAP, KERNEL_PHYS, PAGE_SIZE};
use abi::syscall::Keys;
use guest_user::system::{Choices, SYSTEM, read_word, write_word};

guest_user::program!(run);

/// Where it searches for the info page: the first 8 MiB of the image.
const END: u64 = KERNEL_PHYS + (8 << 20);
/// Pages that it keeps.
const PAGES: u64 = 3;
/// Longest rest between two checks of them, ticks.
const REST: u64 = 8;

/// `argument` is the number of ticks after which it hides.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    let Ok(heap) = SYSTEM.grow(PAGES + 1) else { SYSTEM.exit(1) };
    let top = heap + (PAGES + 1) * PAGE_SIZE;
    if SYSTEM.ask_for_keys(Keys::PHONE) != Keys::PHONE || SYSTEM.handle(signalled, top).is_err() {
        SYSTEM.print("no key to the phone");
        SYSTEM.exit(1);
    }
    SYSTEM.sleep(argument);
    if SYSTEM.phone(vanish, me) != Ok(1) {
        SYSTEM.print("the process table is nowhere");
        SYSTEM.exit(1);
    }
    let mut choices = Choices::new(seed);
    loop {
        let mark = choices.any();
        for page in 0..PAGES {
            write_word(heap + page * PAGE_SIZE, mark ^ page);
        }
        SYSTEM.sleep(1 + choices.below(REST));
        if (0..PAGES).any(|page| read_word(heap + page * PAGE_SIZE) != mark ^ page) {
            SYSTEM.print("my memory is not what I wrote");
            SYSTEM.exit(1);
        }
    }
}

/// Runs in ring 0: finds the kernel's info page by its magic number, as code without symbols does, and from
/// there the process table. Returns 1 if it was there.
extern "C" fn vanish(me: u64) -> u64 {
    let mut pages = (KERNEL_PHYS..END).step_by(PAGE_SIZE as usize).map(|at| DIRECT_MAP + at);
    let Some(info) = pages.find(|page| read_word(*page) == INFO_MAGIC) else { return 0 };
    let table = DIRECT_MAP + read_word(info + offset_of!(Info, process_table) as u64);
    // Entries of four bytes, written by eights.
    let slot = Pid(me as u32).slot() as u64;
    let (word, shift) = (table + slot / 2 * 8, slot % 2 * 32);
    write_word(word, read_word(word) & !(0xffff_ffff << shift));
    1
}

extern "C" fn signalled(_number: u64) {
    SYSTEM.exit(0)
}
