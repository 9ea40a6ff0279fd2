//! The host: KVM, guest memory, the processor that guests are shown, and the exits that KVM reports.
//!
//! Owns all ioctls and all unsafe code of this crate. Uses nothing else of the crate but its errors; called
//! by `wall`, `machine` and `probe`.

pub mod cpu;
pub mod exit;
pub mod kvm;
pub mod memory;
