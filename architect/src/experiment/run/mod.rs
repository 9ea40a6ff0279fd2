//! A run: the machine, its watchers, its files and its clock, from power-on to the verdict.
//!
//! Owns what happens to the guest: doorbells, ticks, the monitor's orders, faults, the watchdog, resets. Uses
//! `incarnation` and `watch`; called through [`Laboratory::experiment`](super::Laboratory::experiment).

mod clock;
mod conclusion;
mod driver;
mod files;
mod injection;
mod lifecycle;
mod traps;
