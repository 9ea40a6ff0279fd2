//! Makes every system call with senseless arguments: addresses that are unmapped, odd or the kernel's; ports
//! and processes that belong to others or do not exist; numbers too large. It counts the results; anything
//! but an answer of this kernel is damage. It never ends itself, waits without limit, or takes what others
//! need.
#![no_std]
#![no_main]

use abi::compat::{VERSION_1, VERSION_2};
use abi::layout::{DIRECT_MAP, KERNEL_BASE, PAGE_SIZE, USER_END, USER_TEXT, USER_WINDOWS};
use abi::syscall::{Call, Error};
use guest_user::system::{Choices, SYSTEM, read_word, system_call, write_word};

guest_user::program!(run);

/// Words in its heap that no call has a reason to change.
const MARKED: u64 = 64;
/// Error codes and success.
const CODES: usize = 9;
/// Calls between two checks of its own memory.
const LOOK_EVERY: u64 = 64;

/// `argument` is the number of calls that it makes; 0 for no limit.
fn run(argument: u64, seed: u64, me: u64) -> ! {
    let Ok(heap) = SYSTEM.grow(2) else { SYSTEM.exit(0) };
    // The first page is for calls to write into, the second is watched.
    let marked = heap + PAGE_SIZE;
    for word in 0..MARKED {
        write_word(marked + word * 8, seed ^ word);
    }
    let mut wild = Wild { choices: Choices::new(seed), heap, me };
    let mut codes = [0u64; CODES];
    let mut made = 0;
    while argument == 0 || made < argument {
        let number = wild.number();
        let arguments = wild.arguments(number);
        let (status, _) = system_call(number, arguments);
        match codes.get_mut(status as usize) {
            Some(count) => *count += 1,
            None => damaged("that is no answer"),
        }
        made += 1;
        if made % LOOK_EVERY == 0 && (0..MARKED).any(|word| read_word(marked + word * 8) != seed ^ word) {
            damaged("my memory was written to");
        }
    }
    if codes[Error::Invalid as usize] == 0 || codes[Error::BadAddress as usize] == 0 {
        damaged("nothing was refused");
    }
    SYSTEM.print("all answers were in order");
    SYSTEM.exit(0)
}

fn damaged(what: &str) -> ! {
    SYSTEM.print(what);
    SYSTEM.exit(1)
}

/// Chooses senseless arguments.
struct Wild {
    choices: Choices,
    heap: u64,
    me: u64,
}

impl Wild {
    fn pick<const N: usize>(&mut self, of: [u64; N]) -> u64 {
        of[self.choices.below(N as u64) as usize]
    }

    /// Any call of this version or an older one except those that end the caller, and numbers that no call
    /// has.
    fn number(&mut self) -> u64 {
        let call = 1 + self.choices.below(Call::ALL.len() as u64 + 2);
        match self.choices.below(16) {
            0 => VERSION_1 + call,
            1 => VERSION_2 + call,
            2 => self.choices.any() | 1 << 40,
            _ => call,
        }
    }

    fn address(&mut self) -> u64 {
        let heap = self.heap;
        let odd = self.choices.any();
        self.pick([
            0,
            8,
            heap,
            heap + 1,
            heap + PAGE_SIZE - 8,
            USER_TEXT,
            USER_TEXT - 8,
            USER_WINDOWS - PAGE_SIZE * 17,
            USER_END - 8,
            USER_END,
            0x8000_0000_0000,
            DIRECT_MAP,
            KERNEL_BASE,
            u64::MAX - 7,
            u64::MAX,
            odd | 1 << 47,
        ])
    }

    fn bytes(&mut self) -> u64 {
        let odd = self.choices.any();
        self.pick([0, 1, 7, 8, 64, 256, 257, PAGE_SIZE, 4 * PAGE_SIZE + 1, 1 << 32, u64::MAX, odd])
    }

    fn pid(&mut self) -> u64 {
        let (slot, generation, odd) = (self.choices.below(300), self.choices.below(4), self.choices.any());
        self.pick([0, 1, slot, slot, slot | generation << 16, slot | 1 << 32, u64::MAX, odd | 1 << 40])
    }

    /// Ports of others, unbound ports, and numbers that are no ports.
    fn port(&mut self) -> u64 {
        let odd = self.choices.any();
        self.pick([0, 1, 7, 80, 1023, 2000, 2001, 2100, 30_000, u64::MAX, odd | 1 << 40])
    }

    /// A time that passes.
    fn ticks(&mut self) -> u64 {
        1 + self.choices.below(3)
    }

    fn arguments(&mut self, number: u64) -> [u64; 6] {
        let mut any: [u64; 6] = core::array::from_fn(|_| self.choices.any());
        match Call::from_raw(number) {
            // An old call may be one that sleeps.
            None => any[0] = self.pick([0, 1, any[0] & 3]),
            Some(Call::Sleep | Call::Wait) => any[0] = self.ticks(),
            Some(Call::Call) => {
                any = [self.port(), any[1], any[2], self.address(), self.bytes(), self.ticks()];
            }
            Some(Call::Receive) => any = [self.port(), self.ticks(), 0, 0, 0, 0],
            Some(Call::Reply) => any = [self.pid(), any[1], any[2], self.port(), self.ticks(), 0],
            // It must not take a port that others need.
            Some(Call::Bind) => any[0] = self.pick([0, 1, 7, 80, 1023, 30_000]),
            Some(Call::Grow) => any[0] = self.pick([0, 1 << 22, 1 << 32, u64::MAX, u64::MAX - 1]),
            Some(Call::Print) => any[0] |= 64,
            Some(Call::Post | Call::Collect) => {
                any = [self.port(), self.address(), self.bytes(), self.ticks(), 0, 0];
            }
            Some(Call::Kill | Call::Tag | Call::Grant) => any[0] = self.pid(),
            Some(Call::Signal) => {
                any[0] = self.pid();
                any[1] &= 31;
                if any[0] == self.me {
                    any[0] = 0;
                }
            }
            // A handler would be entered, and there is none.
            Some(Call::Handle) => any = [0, self.address(), self.address(), 0, 0, 0],
            Some(Call::Examine) => any = [self.pid(), self.address(), self.address(), self.bytes(), 0, 0],
            Some(Call::Attach) => any[0] &= 3,
            Some(Call::Phone) => any[0] = self.address(),
            Some(_) => {}
        }
        any
    }
}
