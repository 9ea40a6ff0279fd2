//! The events that the wall's thread sends to the thread that runs the guest.

use crate::wall::signals::Signal;

/// Something that happened outside of the guest.
#[derive(Debug, PartialEq, Eq)]
pub enum WallEvent {
    /// [`WallConfig::timeout`](super::WallConfig::timeout) is over.
    Timeout,
    /// The guest was not heard for [`WallConfig::silence`](super::WallConfig::silence).
    Silence,
    /// The watchdog's countdown of this generation is over: for [`devices::watchdog::Watchdog::expire`].
    Watchdog(u64),
    /// Output has waited long enough for the end of its line; asked for by
    /// [`Wall::flush_later`](super::Wall::flush_later).
    Flush,
    /// Input was read. No more is read until [`Wall::more_input`](super::Wall::more_input).
    Input(Vec<u8>),
    /// SIGINT or SIGTERM came.
    Signal(Signal),
}
