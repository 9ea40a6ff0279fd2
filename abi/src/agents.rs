//! What the two halves of an Agent share: the kernel half writes what it taps, the daemon half reads and
//! scores it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pid;

/// What an Agent looks at. Each class has one Agent at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Class {
    /// Messages and datagrams.
    Messages = 0,
    /// System calls about ports.
    Ports = 1,
    /// System calls about other processes and their memory.
    Memory = 2,
}

impl Class {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Messages, Self::Ports, Self::Memory];

    /// The class with this number.
    pub fn from_raw(raw: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(raw).ok()?).copied()
    }
}

/// By what a violator is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Heuristic {
    /// Calls and posts to ports that do not exist, or binds of ports that it may not have.
    PortScan = 1,
    /// Answers to messages that it never received.
    Forgery = 2,
    /// Attempts on the memory or the life of others.
    Probing = 3,
}

impl Heuristic {
    /// The heuristic with this number.
    pub fn from_raw(raw: u64) -> Option<Self> {
        Some(match raw {
            1 => Self::PortScan,
            2 => Self::Forgery,
            3 => Self::Probing,
            _ => return None,
        })
    }

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PortScan => "port-scan",
            Self::Forgery => "forgery",
            Self::Probing => "probing",
        }
    }
}

/// One tapped event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tap {
    /// The process that made the call or sent the message.
    pub pid: Pid,
    /// The system call's number; [`TAP_REFUSED`] besides if it was refused in a way that says something of
    /// the caller.
    pub call: u32,
    /// Its first argument: a port or a pid. For a message that was delivered: its receiver.
    pub subject: u64,
}

/// [`Tap::call`]: the call was refused, because the caller may not do that, or because there is no such port
/// or message.
pub const TAP_REFUSED: u32 = 1 << 31;
/// Taps in a state page.
pub const TAP_SLOTS: usize = 128;
/// Targets in a state page.
pub const TARGET_SLOTS: usize = 64;

/// A process that an Agent watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Target {
    /// The process.
    pub pid: Pid,
    /// Points against it.
    pub score: u32,
}

/// The state page.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AgentPage {
    /// [`AGENT_MAGIC`].
    pub magic: u64,
    /// Taps ever written, by the kernel half; tap n is at `taps[n % TAP_SLOTS]`.
    pub head: u64,
    /// Taps ever read, by the daemon half. A tap that finds no room is lost and counted in `lost`.
    pub tail: u64,
    /// Taps lost.
    pub lost: u64,
    /// Of how many events one is tapped: 1 for every one. The kernel half reads it at every event.
    pub every: u64,
    /// Events since the last that was tapped.
    pub skipped: u64,
    /// Violators tagged.
    pub tagged: u64,
    /// Zero.
    pub reserved: u64,
    /// The target table.
    pub targets: [Target; TARGET_SLOTS],
    /// The taps.
    pub taps: [Tap; TAP_SLOTS],
}

/// Marks a state page: "AGENTPAG".
pub const AGENT_MAGIC: u64 = u64::from_le_bytes(*b"AGENTPAG");

const _: () = assert!(size_of::<AgentPage>() <= 4096);
