//! What an access to a port requests of the VMM: a value that only the vCPU loop applies.

use abi::info::Doorbell;
use abi::{Frame, GuestPhys};

/// The request of one access. One access yields at most one action.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Action {
    /// Nothing: the device has handled the access, as with nearly all accesses.
    #[default]
    None,
    /// The guest ends itself with this exit status.
    Exit {
        /// The exit status, 0 to 127.
        code: u8,
        /// The guest asked for more than 127, which became 127.
        clamped: bool,
    },
    /// The guest pulls the reset line.
    Reset,
    /// The guest rings the doorbell.
    Doorbell {
        /// The reason.
        reason: Doorbell,
        /// The page given with it; 0 if the reason needs none. It may be any address: it is not checked.
        page: GuestPhys,
    },
    /// The guest has reached an instruction that a trap replaced.
    Trap,
    /// The guest rings for an unknown reason, or with an access of a wrong width.
    UnknownDoorbell(u32),
    /// The guest requests that this frame be zeroed. It may be any frame below 4 GiB: it is not checked.
    Fill(Frame),
    /// The watchdog's countdown has restarted: in wall mode, set a timer for
    /// [`crate::watchdog::Watchdog::deadline`].
    WatchdogStarted,
    /// The watchdog was disarmed: cancel or ignore its timer.
    WatchdogStopped,
    /// The serial port reports an event. At least one of the two fields is true.
    Serial {
        /// This was the first byte of output since the device was created, reset or restored.
        first_output: bool,
        /// The port pulses its interrupt line, IRQ 4.
        interrupt: bool,
    },
    /// The first access to a port without a device; later ones are only counted.
    Stray {
        /// The port.
        port: u16,
        /// Width of the access in bytes.
        len: u8,
        /// Whether it was a write.
        write: bool,
    },
}

impl Action {
    /// Returns whether there is nothing to do.
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns whether the guest stops here, so that the rest of a string instruction never happens.
    pub const fn ends_guest(self) -> bool {
        matches!(self, Self::Exit { .. } | Self::Reset)
    }

    /// Combines the actions of two bytes of one access: events of the serial port add up, otherwise the later
    /// action counts.
    pub(crate) const fn then(self, later: Self) -> Self {
        match (self, later) {
            (
                Self::Serial { first_output: f1, interrupt: i1 },
                Self::Serial { first_output: f2, interrupt: i2 },
            ) => Self::Serial { first_output: f1 || f2, interrupt: i1 || i2 },
            (earlier, Self::None) => earlier,
            (_, later) => later,
        }
    }
}
