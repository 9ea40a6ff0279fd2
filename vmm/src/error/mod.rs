//! Errors of the library: a bad file, a bad kernel image, a host that cannot run guests, a failure of the
//! VMM.
//!
//! Owns the error types; every error says what is wrong, where, and what to do about it: it has a [`Report`].
//! Uses nothing else of the crate; every module returns these. What a *guest* does wrong is not an error: it
//! is an event of the machine.

mod host;
mod report;
mod vmm;

pub use host::{DEVICE, HostError};
pub use report::Report;
pub use vmm::{Error, VmmError};
