//! The post-mortem of an incarnation: what happened, what the first cause was, what came of it, and what to change.
//!
//! It reads what the run has recorded, the events and audits in an [`History`], the beats, the writes that audits saw, and
//! decides nothing. Everything in it is a measured fact with its tick, its processes and its frames; what was not measured
//! is not said. A post-mortem is written when an incarnation ends badly, and when it had a frame within reach of
//! a process that has no right to it.

mod advice;
mod case;
mod chain;
mod document;
mod history;
#[cfg(test)]
mod tests;
mod text;

pub use case::Case;
pub use history::History;
