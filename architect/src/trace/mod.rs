//! The event stream of a run: what is written down, and its hash.

pub mod events;
pub mod hash;
pub mod places;
