//! A machine: memory, processor and devices, built from a [`MachineConfig`] and run from event to event.
//!
//! Owns the board (what each exit does), the loader, snapshots, the pool of VMs, core files, and [`Machine`]
//! itself. May use `host`, the kick of `wall`, and the devices; called by `probe` and by the user of the
//! library.
//!
//! A machine starts at power-on ([`Machine::new`]) or from a [`Snapshot`](snapshot::Snapshot): in a new VM
//! ([`Machine::fork`]), or in one that has run another guest before ([`Machine::restore`], [`pool::Pool`]).

pub mod board;
pub mod core_file;
pub mod event;
pub mod loader;
mod model;
pub mod pool;
pub mod snapshot;
mod tables;
pub mod tiny;
mod tiny_elf;
mod vm;

pub use board::Counts;
pub use event::{Crash, Event};
pub use model::Model;
pub use vm::{Machine, MachineConfig, PooledVm, Registers};
