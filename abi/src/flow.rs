//! Flows of messages, and the processes that wait at the gateway: two tables for outside readers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pid;

/// Messages from one process to one port. A flow whose sender is [`Pid::NONE`] is a free entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Flow {
    /// The sender.
    pub from: Pid,
    /// The owner of the port when the last message was sent.
    pub to: Pid,
    /// The port.
    pub port: u32,
    /// Tick of the last message, its low 32 bits.
    pub last: u32,
    /// Messages, replies not counted.
    pub messages: u32,
    /// Datagrams among them that were collected with a wrong checksum.
    pub damaged: u32,
    /// Bytes lent or copied.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Flow>() == 32);

/// A process that waits at the gateway: the place of its entry is its place in the queue. Entries behind the
/// last waiting process are free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Gate {
    /// The process.
    pub pid: Pid,
    /// Bytes that it wants to pass.
    pub bytes: u32,
    /// Tick at which it first came, for its present call: its age counts from here, however often it was let
    /// in.
    pub since: u64,
    /// Number of its transfer, in the order in which they were asked for.
    pub sequence: u64,
}

const _: () = assert!(size_of::<Gate>() == 24);
