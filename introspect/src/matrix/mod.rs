//! The Matrix, read from outside: its tables, its address spaces, and which mappings should not be.
//!
//! Owns all that depends on the contract with the Matrix (`abi`); builds on [`crate::x86`], which knows nothing of it.
//! Called by audits of a running guest and by whoever inspects its dumps.

pub mod guest;
pub mod info;
pub mod policy;
pub mod roots;
pub mod sample;
pub mod space;

pub use guest::Guest;
pub use info::find_info;
pub use policy::{Finding, Policy, What};
