//! What the caller of the vCPU loop is told.

use abi::GuestPhys;
use abi::info::Doorbell;

use crate::host::exit::InternalError;

/// Something that the caller of the vCPU loop must know or decide on. The guest stands still meanwhile.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The guest rang. The page is whatever the guest says.
    Doorbell {
        /// Why.
        reason: Doorbell,
        /// The page given with it.
        page: GuestPhys,
    },
    /// The guest has come to a trap, or says so.
    Trap,
    /// The guest ended itself with this status, 0 to 127.
    Exit(u8),
    /// The guest pulled the reset line.
    Reset,
    /// Triple fault.
    TripleFault,
    /// KVM cannot go on with this guest.
    Crash(Crash),
    /// The guest halted, and nothing will wake it (hosts without a local APIC in the kernel only).
    Halted,
    /// The watchdog's countdown began anew or ended: ask [`devices::watchdog::Watchdog::deadline`].
    WatchdogChanged,
    /// The first access to a port or page where nothing is.
    Stray {
        /// The port, or the address.
        at: u64,
        /// Bytes of the access.
        bytes: u8,
        /// Whether it was a write.
        write: bool,
        /// Whether `at` is a port.
        port: bool,
    },
    /// The guest has written to the console since the last [`Board::flush_console`]; part of it may wait there.
    OutputWaits,
    /// Somebody kicked the vCPU: read the channel.
    Kicked,
}

/// The end of a guest that KVM could not go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// What KVM says.
    pub error: InternalError,
    /// Where the guest was.
    pub rip: u64,
}
