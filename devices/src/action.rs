//! What an access to a port asks of the VMM: a value, applied by the vCPU loop and by nobody else.

use abi::info::Doorbell;
use abi::{Frame, GuestPhys};

/// What one access asks for. One access yields at most one action.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Action {
    /// Nothing: the device has dealt with it. Nearly all accesses end so.
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
    /// The guest rings.
    Doorbell {
        /// Why.
        reason: Doorbell,
        /// The page given with it; 0 where the reason needs none. Any address: the guest may lie.
        page: GuestPhys,
    },
    /// The guest has come to an instruction that was put in place of another one.
    Trap,
    /// The guest rings for a reason that does not exist, or at a width that the port does not have.
    UnknownDoorbell(u32),
    /// The guest wants this frame zeroed. Any frame below 4 GiB: the guest may lie.
    Fill(Frame),
    /// The watchdog's countdown has begun anew: in wall mode, set a timer for [`crate::watchdog::Watchdog::deadline`].
    WatchdogStarted,
    /// The watchdog was disarmed: its timer, if there is one, has lost its meaning.
    WatchdogStopped,
    /// The serial port has news. At least one of the two is true.
    Serial {
        /// This was the first byte of output since the device was made, reset or restored.
        first_output: bool,
        /// The port pulses its interrupt line, IRQ 4.
        interrupt: bool,
    },
    /// The first access to a port where nothing is; later ones are only counted.
    Stray {
        /// The port.
        port: u16,
        /// Bytes of the access.
        len: u8,
        /// Whether it was a write.
        write: bool,
    },
}

impl Action {
    /// Whether there is nothing to do.
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether the guest does not go on after this: the rest of a string instruction never happens.
    pub const fn ends_guest(self) -> bool {
        matches!(self, Self::Exit { .. } | Self::Reset)
    }

    /// One action for two bytes of the same access: news of the serial port add up, else the later one stands.
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
