//! System calls of older versions, which old programs still make. Arguments and results use the same
//! registers as the present calls ([`crate::syscall`]).

/// The first number of the calls of ABI version 1.
pub const VERSION_1: u64 = 0x1000;
/// The first number of the calls of ABI version 2.
pub const VERSION_2: u64 = 0x2000;

/// Version 1, `(status)`: ends the caller.
pub const V1_EXIT: u64 = VERSION_1;
/// Version 1, `(ticks)`: sleeps.
pub const V1_SLEEP: u64 = VERSION_1 + 1;
/// Version 1, `(address)` to `(address)`: moves the end of the heap up to `address`, rounded up to a page.
/// Returns the old end; address 0 leaves the heap as it is.
pub const V1_BRK: u64 = VERSION_1 + 2;
/// Version 1, `(steps)`: makes the caller so much less urgent.
pub const V1_NICE: u64 = VERSION_1 + 3;
/// Version 2, `(status)`: ends the caller.
pub const V2_EXIT: u64 = VERSION_2;
/// Version 2, `()`: lets others run.
pub const V2_YIELD: u64 = VERSION_2 + 1;
/// Version 2, `(pid, word)`: gives a word to a process that waits for a message. No reply is awaited.
pub const V2_POST_WORD: u64 = VERSION_2 + 2;
/// Version 2, `(pid)` to `(state, kernel entries, uid)`: how a process is.
pub const V2_STAT: u64 = VERSION_2 + 3;
