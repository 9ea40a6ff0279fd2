//! Faults as a scenario states them: when, where, what.
//!
//! [`keys`] are the TOML keys; a key may hold a fixed value or a distribution ([`choice`]), which [`draw`] resolves from
//! the seed. [`check`] turns keys that make sense together into a [`model::Fault`]. Nothing here touches a guest: the
//! engine is in `faults`.

mod check;
pub mod choice;
pub mod draw;
pub mod fields;
pub mod keys;
pub mod model;
