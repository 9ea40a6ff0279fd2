//! The events that the vCPU loop returns to its caller.

use abi::GuestPhys;
use abi::info::Doorbell;

use crate::host::exit::InternalError;

/// Something that the caller of the vCPU loop must know or decide on. The guest is stopped meanwhile.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The guest wrote to the doorbell port. The page is unchecked guest input.
    Doorbell {
        /// Why.
        reason: Doorbell,
        /// The page given with it.
        page: GuestPhys,
    },
    /// The guest wrote to the trap port.
    Trap,
    /// The guest ended itself with this status, 0 to 127.
    Exit(u8),
    /// The guest pulled the reset line.
    Reset,
    /// Triple fault.
    TripleFault,
    /// KVM cannot continue this guest.
    Crash(Crash),
    /// The guest halted, and nothing will wake it (hosts without a local APIC in the kernel only).
    Halted,
    /// The watchdog's countdown was restarted or stopped: see [`devices::watchdog::Watchdog::deadline`].
    WatchdogChanged,
    /// The first access to a port or page with neither device nor memory.
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
    /// The guest has written to the console since the last
    /// [`Machine::flush_console`](super::Machine::flush_console); part of the output may still be buffered.
    OutputWaits,
    /// The vCPU was kicked: read the wall's channel.
    Kicked,
}

/// The end of a guest that KVM could not continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// What KVM says.
    pub error: InternalError,
    /// Where the guest was.
    pub rip: u64,
}
