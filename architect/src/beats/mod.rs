//! Beats: what an outside observer can prove of a run, each from events and audits alone.
//!
//! Each beat has a detector in a file of its own; [`Beats`] asks them. A detector sees every record and every audit of one
//! incarnation, in order, and depends on nothing else; its memory is bounded, whatever the guest emits. Uses the trace,
//! the ledger and `introspect`; called by the experiment, read by verdict and reports.

mod assimilation;
mod berserk;
mod detector;
mod duel;
mod entangled;
mod false_tags;
mod finding;
mod ipc_damage;
mod kernel_context;
mod killed_mid_syscall;
mod known;
mod process;
mod scheduler_attacked;
#[cfg(test)]
mod testing;
mod the_one;
mod tracker;
mod two_left;

pub use detector::View;
pub use finding::evidence;
pub use tracker::{Beats, Reached};
