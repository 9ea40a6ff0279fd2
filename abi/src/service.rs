//! The service table: processes that were started at boot and are to be there, so that a monitor can have
//! them started again.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pid;

/// Entries in the table.
pub const SERVICE_SLOTS: usize = 64;

/// [`Service::state`]: a free entry.
pub const SERVICE_NONE: u8 = 0;
/// [`Service::state`]: its process is alive.
pub const SERVICE_RUNS: u8 = 1;
/// [`Service::state`]: its process has ended by itself with status 0; there is nothing to be started again.
pub const SERVICE_DONE: u8 = 2;
/// [`Service::state`]: its process has crashed or was killed.
pub const SERVICE_DOWN: u8 = 3;

/// [`Service::state`]: its process was one of the people and was tagged as a violator; it is not to be
/// started again.
pub const SERVICE_BARRED: u8 = 4;

/// One service, 48 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Service {
    /// Its process, or the last one that it had.
    pub pid: Pid,
    /// Index in the boot module.
    pub program: u32,
    /// User id.
    pub uid: u32,
    /// Times that it was started again.
    pub restarts: u32,
    /// Handed over at every start.
    pub argument: u64,
    /// Tick of the last start.
    pub started: u64,
    /// Frame of the state page that it shares with the kernel and that a restart keeps; 0 if it has none, or
    /// if there will be no restart.
    pub warm: u32,
    /// Priority.
    pub priority: u8,
    /// `SERVICE_*`.
    pub state: u8,
    /// Zero.
    pub reserved: [u8; 10],
}

const _: () = assert!(size_of::<Service>() == 48);
