//! Devices behind a port bus, for a virtual machine monitor: a serial port, a watchdog, a reset line, and the
//! ports by which the guest talks to the VMM.
//!
//! Devices know no KVM and no guest memory. A [`Bus`] hands them reads and writes of ports. They change their
//! own state, and *return* an [`Action`] where something outside of them must happen; only the VMM's vCPU
//! loop applies actions. Devices own no clock, no thread and no file descriptor. So a run is a function of
//! the accesses alone, and a test can make any access.
//!
//! A guest can write anything to any port at any width: the worst result is a count.
//!
//! # What to wire
//!
//! A VMM passes each port exit to [`Bus::write`] or [`Bus::read`], applies the [`Action`] that comes back,
//! calls `watchdog.advance` with virtual time (or `watchdog.expire` from a timer of its own), and gives input
//! to `serial.queue_input`:
//!
//! ```
//! use devices::watchdog::{Stages, Timeout};
//! use devices::{Action, Bus};
//!
//! let mut bus = Bus::new(Vec::new(), Timeout::Ticks(10), Stages::default());
//! // The guest prints a letter, arms the watchdog and no longer pets it.
//! let first = bus.write(0x3f8, b"A");
//! assert_eq!(first, Action::Serial { first_output: true, interrupt: false });
//! assert_eq!(bus.write(0x443, &[0]), Action::WatchdogStarted);
//! let expired = bus.watchdog.advance(10).expect("the countdown has ended");
//! assert_eq!(expired.stage, 1);
//! // It pulls the reset line: the VMM resets the vCPU, and the bus its devices.
//! assert_eq!(bus.write(0x64, &[0xfe]), Action::Reset);
//! bus.reset();
//! bus.serial.flush();
//! assert_eq!(bus.serial.output(), b"A");
//! ```
//!
//! # Adding a device
//!
//! A device with 8-bit registers is one file, with its `pub mod` line below, that implements [`PortDevice`],
//! and one entry in the list in `bus.rs`. From the list come the field of the [`Bus`], the dispatch of its
//! ports, its reset, and its part of a snapshot. Only a device with a new kind of effect touches more: a
//! variant of [`Action`], and the VMM's code that applies it (`Board` in the crate `vmm`).
#![forbid(unsafe_code)]

pub mod action;
pub mod bus;
pub mod device;
pub mod doorbell;
pub mod i8042;
pub mod serial;
pub mod stages;
pub mod stray;
pub mod watchdog;

pub use action::Action;
pub use bus::{Bus, BusState, Counters};
pub use device::PortDevice;
