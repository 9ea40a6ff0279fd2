//! The keyboard controller, as far as a machine without a keyboard needs one: its reset line.
//!
//! | port | access | register | here |
//! |---|---|---|---|
//! | 0x60 | read | output buffer | 0 |
//! | 0x60 | write | input buffer | ignored |
//! | 0x64 | read | status | 0: nothing to read, and ready for a command, so that waiting drivers continue |
//! | 0x64 | write | command | 0xfe pulses the reset line; all others are ignored |
//!
//! Source: IBM PC AT Technical Reference, keyboard controller (status bit 0 output buffer full, bit 1 input
//! buffer full; commands 0xf0 to 0xff pulse output port bits, bit 0 of which is the processor's reset line,
//! low-active); Linux `arch/x86/kernel/reboot.c`, which waits for status bit 1 to be clear and then writes
//! 0xfe.

use abi::layout::{I8042_RESET, PORT_I8042};

use crate::{Action, PortDevice};

/// The controller. It has no state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct I8042;

impl I8042 {
    /// Handles a write to the command port.
    pub const fn command(self, value: u8) -> Action {
        if value == I8042_RESET { Action::Reset } else { Action::None }
    }

    /// Handles a read of the status port.
    pub const fn status(self) -> u8 {
        0
    }

    /// Handles a read of the data port.
    pub const fn data(self) -> u8 {
        0
    }
}

impl PortDevice for I8042 {
    #[inline]
    fn write_port(&mut self, port: u16, value: u8) -> Action {
        if port == PORT_I8042 { self.command(value) } else { Action::None }
    }

    #[inline]
    fn read_port(&mut self, port: u16) -> (u8, Action) {
        (if port == PORT_I8042 { self.status() } else { self.data() }, Action::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reset_command_resets() {
        for value in 0..=u8::MAX {
            assert_eq!(I8042.command(value) == Action::Reset, value == 0xfe);
        }
    }

    #[test]
    fn drivers_that_wait_go_on() {
        assert_eq!((I8042.status(), I8042.data()), (0, 0));
    }
}
