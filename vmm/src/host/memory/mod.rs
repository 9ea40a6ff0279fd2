//! Guest memory: the bytes behind guest-physical addresses.
//!
//! Owns the mappings of guest memory ([`GuestMemory`]), the regions where a guest has memory, and what memory
//! held at one moment ([`Backing`]). Every access is checked against the regions; nothing that a guest says
//! can touch anything else. May use the errors of this crate; called by `kvm` and `machine`.

mod backing;
mod guest;
mod mapping;
mod regions;
mod scan;

pub use backing::{Backing, WholeMemory};
pub use guest::GuestMemory;
pub use regions::{HOLE_END, HOLE_START, MAX_MIB, MIN_MIB, Region, regions};
