//! The machine below the VMM: KVM, guest memory, the processor that guests are shown, and what KVM reports.
//!
//! Owns all ioctls and all unsafe code of this crate. Uses nothing else of the crate but its errors; called by
//! `machine`, `wall` and `probe`.

pub mod cpu;
pub mod error;
pub mod exit;
pub mod kvm;
pub mod memory;
