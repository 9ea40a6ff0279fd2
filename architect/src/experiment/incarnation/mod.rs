//! One incarnation of the guest: its machine and what belongs to it alone.
//!
//! Owns the console that a fault can damage, the traps in the guest's code, and the state that ends with the
//! incarnation. Uses `vmm` and `faults::code`; called by `watch` and `run`.

mod console;
mod state;
mod trapping;

pub(super) use console::Console;
pub(super) use state::Incarnation;
pub(super) use trapping::Trapping;
