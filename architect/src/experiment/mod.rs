//! An experiment: one guest of a scenario, from its first incarnation to the verdict.
//!
//! Owns the machine of a run and decides what happens to it; the watchers (trace, ledger, beats, tags,
//! history, fault injector) only see records and audits. Uses `vmm`, `trace`, `analysis`, `beats`, `faults`
//! and `guest`; the commands and campaigns call [`Laboratory::experiment`].
//!
//! Everything is decided at the guest's doorbells. At each tick the trace is drained, the page tables are
//! audited, the monitor gives its orders, and the watchdog counts down. A guest that never rings again falls
//! back to real time, and what follows is marked so; with a real-time clock that is so from the beginning.

mod incarnation;
mod laboratory;
pub mod monitor;
mod prepare;
mod run;
mod warm;
mod watch;

pub use laboratory::{Compare, Laboratory, SILENCE};
pub use prepare::{check_code, check_programs, machine_config};
pub use warm::Warm;
