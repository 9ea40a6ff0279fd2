//! System calls: numbers, errors, keys.
//!
//! The number goes in RAX, arguments in RDI, RSI, RDX, R10, R8, R9. The status comes back in RAX (0, or an
//! [`Error`] by number), results in RDI, RSI, RDX, R10, R8, R9; RCX and R11 are lost, as `SYSCALL` has it
//! (AMD64 APM vol. 3). User processes and kernel processes use the same calls.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pid;
use crate::boot::BootParameter;

macro_rules! calls {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal;)+) => {
        /// A system call.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u64)]
        pub enum Call { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Call {
            /// All calls.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The call with this number.
            pub fn from_raw(raw: u64) -> Option<Self> {
                match raw { $($number => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

calls! {
    /// `(status)`: ends the caller.
    Exit = 0;
    /// `()`: lets others run.
    Yield = 1;
    /// `(ticks)`: sleeps.
    Sleep = 2;
    /// `(port, word0, word1, loan address, loan bytes, timeout ticks)` to `(word0, word1)`: sends, lends,
    /// waits for the reply. A timeout of 0 waits for ever.
    Call = 3;
    /// `(port, timeout ticks)` to `(sender, word0, word1, window address, loan bytes, uid)`: waits for a
    /// message on a port it has bound.
    Receive = 4;
    /// `(sender, word0, word1, port, timeout ticks)`: answers and ends the loan; with a port other than 0,
    /// also waits for the next message there, with the results of [`Call::Receive`]. The CPU goes straight to
    /// the sender.
    Reply = 5;
    /// `(port)`: binds a port to the caller; below 1024 for root only.
    Bind = 6;
    /// `(bytes)` to `(address)`: grows the heap.
    Grow = 7;
    /// `(seconds code)`: pets the watchdog; needs [`Keys::WATCHDOG`].
    Pet = 8;
    /// `(length, 5 words of text)`: writes up to 40 bytes to the console.
    Print = 9;
    /// `(program, uid, priority, argument)` to `(pid)`: starts a program of the boot module; for root only.
    Spawn = 10;
    /// `(timeout ticks)` to `(pid, status)`: waits for a child to end.
    Wait = 11;
    /// `(pid)`: ends another process; for root only. A process that runs in ring 0 is ended by the scheduler,
    /// when it next attends to the timer: the call only begins that.
    Kill = 12;
    /// `(what, which)` to `(value)`: asks for one number, see [`Query`].
    Query = 13;
    /// `(pid, keys wanted, keys)`: grants keys and logs it; for kernel processes only.
    Grant = 14;
    /// `(port, address, bytes, timeout ticks)`: sends a datagram of up to [`DATAGRAM_BYTES`] to a port,
    /// through the gateway into a buffer. Waits only if there is no buffer, or the port's queue is full.
    Post = 15;
    /// `(port, address, capacity, timeout ticks)` to `(sender, bytes, sequence, uid)`: waits for a datagram
    /// on a port it has bound, and has it written to `address`, a multiple of 8. What does not fit is lost.
    /// [`DAMAGED`] in the sequence number says that the data are not what was sent.
    Collect = 16;
    /// `(handler, top of the return stack, address the handler returns to)`: says what to do on a signal. The
    /// return stack is the caller's, 16-byte aligned; the return address is written to its top once, here. 0
    /// for the handler takes it back.
    Handle = 17;
    /// `(pid, number)`: sends a signal; for root, the parent, and processes of the same uid. Without a
    /// handler the number [`SIGNAL_END`] ends the process and others are forgotten.
    Signal = 18;
    /// `()`: what the code at the handler's return address calls: goes on where the signal came.
    Return = 19;
    /// `(function, argument)` to `(result)`: runs a piece of the caller's code in kernel context. Needs
    /// [`Keys::PHONE`] and a return stack, see [`Call::Handle`].
    Phone = 20;
    /// `(result)`: ends a phone call; in kernel context only.
    HangUp = 21;
    /// `(pid, address, buffer, bytes)`: reads up to 256 bytes of another process's memory; for root only.
    Examine = 22;
    /// `(class, page)` to `(address)`: maps a page of state shared with the Agents' kernel half; needs
    /// [`Keys::AGENT`]. `page` is that of the caller's image, counted from [`crate::layout::USER_TEXT`],
    /// at which processes that it tags continue.
    Attach = 23;
    /// `(pid, heuristic, score)`: tags a process as a violator: the caller's image, from the page given to
    /// [`Call::Attach`] on, takes the place of the violator's own, and the violator goes on at its beginning.
    /// Needs [`Keys::AGENT`].
    Tag = 24;
    /// `()`: acknowledges the timer's interrupt, does what is due, waits for the next; for the scheduler's
    /// process.
    Acknowledge = 25;
}

/// Why a call was refused, in RAX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Error {
    /// No such call, or an argument that makes no sense.
    Invalid = 1,
    /// Not allowed to the caller.
    Denied = 2,
    /// The peer is dead, or never was.
    Dead = 3,
    /// Nothing came in time.
    TimedOut = 4,
    /// No memory, or no room in a table.
    Exhausted = 5,
    /// An address that the caller has not mapped.
    BadAddress = 6,
    /// The port or the child does not exist.
    NotFound = 7,
    /// A signal came while the caller waited.
    Interrupted = 8,
}

impl Error {
    /// The error with this number.
    pub fn from_raw(raw: u64) -> Option<Self> {
        Some(match raw {
            1 => Self::Invalid,
            2 => Self::Denied,
            3 => Self::Dead,
            4 => Self::TimedOut,
            5 => Self::Exhausted,
            6 => Self::BadAddress,
            7 => Self::NotFound,
            8 => Self::Interrupted,
            _ => return None,
        })
    }
}

/// What [`Call::Query`] can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Query {
    /// The caller's own pid.
    Me = 0,
    /// Virtual time.
    Tick = 1,
    /// Processes that ended with a fault or with a status other than 0, see `Counters::crashes`.
    Crashes = 2,
    /// Processes alive.
    Alive = 3,
    /// The number given on the command line for the load parameter `(second argument)`, see [`Load`].
    Load = 4,
    /// The pid of the process in the slot `(second argument)` of the process table; 0 for none.
    Slot = 5,
}

impl Query {
    /// The query with this number.
    pub fn from_raw(raw: u64) -> Option<Self> {
        Some(match raw {
            0 => Self::Me,
            1 => Self::Tick,
            2 => Self::Crashes,
            3 => Self::Alive,
            4 => Self::Load,
            5 => Self::Slot,
            _ => return None,
        })
    }
}

macro_rules! loads {
    ($($name:ident = $number:literal, $parameter:ident;)+) => {
        /// Load parameters: boot parameters that programs read by [`Query::Load`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u64)]
        pub enum Load { $(#[doc = concat!("[`BootParameter::", stringify!($parameter), "`].")] $name = $number,)+ }

        impl Load {
            /// All load parameters, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The boot parameter that it reads.
            pub const fn parameter(self) -> BootParameter {
                match self { $(Self::$name => BootParameter::$parameter,)+ }
            }
        }
    };
}

loads! {
    People = 0, People;
    SpawnEvery = 1, SpawnEvery;
    Pages = 2, Pages;
    Patience = 3, Patience;
    Rounds = 4, Rounds;
    Work = 5, Work;
    Watchdog = 6, WatchdogTicks;
    Fronts = 7, Fronts;
    Directories = 8, Directories;
    Violators = 9, Violators;
    Unsound = 10, Unsound;
    Ramp = 11, Ramp;
}

/// Keys: capabilities that the privilege subsystem grants by message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys;

impl Keys {
    /// May pet the watchdog. For root.
    pub const WATCHDOG: u32 = 1;
    /// May have code run in kernel context. For uids below [`FIRST_PERSON`].
    pub const PHONE: u32 = 2;
    /// May look into system calls and messages, and kill violators. For root.
    pub const AGENT: u32 = 4;
}

/// Uids from here on are people's; below are those of the system.
pub const FIRST_PERSON: u32 = 1000;
/// Ports below this one are for root.
pub const FIRST_OPEN_PORT: u64 = 1024;
/// Most bytes in a datagram.
pub const DATAGRAM_BYTES: u64 = 240;
/// Set in the sequence number of a datagram whose checksum is wrong.
pub const DAMAGED: u64 = 1 << 63;
/// The signal that ends a process which does not handle it.
pub const SIGNAL_END: u64 = 15;
/// An entry in the grant log: the log is a ring of [`GRANT_SLOTS`] in one frame, and entry n of all is at
/// `n % GRANT_SLOTS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Grant {
    /// Number of the entry, from 1.
    pub serial: u32,
    /// The process that received them.
    pub pid: Pid,
    /// The keys asked for.
    pub wanted: u32,
    /// The keys granted.
    pub granted: u32,
    /// When.
    pub tick: u64,
    /// Zero.
    pub reserved: u64,
}

/// Entries in the grant log.
pub const GRANT_SLOTS: usize = 128;

const _: () = assert!(size_of::<Grant>() * GRANT_SLOTS == 4096);

/// The port of the privilege subsystem: `(keys)` to `(keys granted)`.
pub const PORT_KEYS: u64 = 1;
