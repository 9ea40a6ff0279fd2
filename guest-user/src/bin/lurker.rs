//! A rootkit's last step, for those who look for hidden processes: by phone, in ring 0, it takes its own
//! entry out of the process table. The scheduler has its own list, so it runs on; whoever looks into the
//! table does not see it. It computes and checks its memory ever after, so that one can tell that it does. It
//! bothers nobody, and sends no messages: the dead do not.
#![no_std]
#![no_main]

use core::mem::offset_of;

use abi::Pid;
use abi::info::{INFO_MAGIC, Info};
use abi::layout::{DIRECT_MAP, KERNEL_PHYS, PAGE_SIZE};
use abi::syscall::Keys;
use guest_user::system::{Choices, SYSTEM, read_word, write_word};

guest_user::program!(run);

/// Where the info page is looked for: the 8 MiB that an image has at most.
const END: u64 = KERNEL_PHYS + (8 << 20);
/// Pages that it keeps.
const PAGES: u64 = 3;
/// Longest rest between two looks at them, ticks.
const REST: u64 = 8;

/// `argument` is the number of ticks after which it goes into hiding.
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

/// In ring 0: finds the kernel's info page by its magic number, as one who has no symbols does, and from
/// there the process table. 1 if it was there.
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
