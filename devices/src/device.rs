//! What the bus asks of a device with 8-bit registers.

use crate::Action;

/// A device with 8-bit registers. The bus calls it only for its own ports, which the list in [`crate::bus`]
/// names.
///
/// A device with state also has `state()` and `restore(&State)`, and its entry in the list names the type
/// `State`.
pub trait PortDevice {
    /// Writes `value` to the register at `port`.
    fn write_port(&mut self, port: u16, value: u8) -> Action;

    /// Reads the register at `port`.
    fn read_port(&mut self, port: u16) -> (u8, Action);

    /// Returns to the power-on state, as the reset line does. A device without state has nothing to do.
    fn reset(&mut self) {}
}
