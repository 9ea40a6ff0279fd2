//! The Matrix's hardware: a serial port, a watchdog, a reset line, and the ports by which the guest talks to the VMM.
//!
//! Devices know no KVM and no guest memory. They are given port reads and writes by a [`Bus`], change their own
//! state, and *return* an [`Action`] where something outside of them must happen; only the VMM's vCPU loop applies
//! actions. Devices own no clock, no thread and no file descriptor, so that a run is a function of the accesses
//! alone, and a test can make any access it likes.
//!
//! A guest can write anything to any port at any width: the worst that comes of it is a count.
#![forbid(unsafe_code)]

pub mod action;
pub mod bus;
pub mod doorbell;
pub mod i8042;
pub mod serial;
pub mod stages;
pub mod stray;
pub mod watchdog;

pub use action::Action;
pub use bus::{Bus, BusState, Counters};
