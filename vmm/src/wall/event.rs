//! What the thread of the wall tells the thread that runs the guest.

use crate::wall::signals::Signal;

/// What happened outside of the guest.
#[derive(Debug, PartialEq, Eq)]
pub enum WallEvent {
    /// [`WallConfig::timeout`] is over.
    Timeout,
    /// The guest was not heard for [`WallConfig::silence`].
    Silence,
    /// The watchdog's countdown of this generation is over: for [`devices::watchdog::Watchdog::expire`].
    Watchdog(u64),
    /// Output has waited long enough for the end of its line; asked for by [`Wall::flush_later`].
    Flush,
    /// Something was typed. No more comes until [`Wall::more_input`].
    Input(Vec<u8>),
    /// SIGINT or SIGTERM came.
    Signal(Signal),
}
