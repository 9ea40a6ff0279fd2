//! The contract between the Matrix (the guest kernel) and the Architect (the VMM that watches it).
//!
//! Everything that both sides must agree on stands here and nowhere else: addresses and ports ([`layout`]),
//! the tables that the guest publishes for an outside reader ([`info`], [`process`], [`frame`], [`loan`],
//! [`flow`], [`service`], [`agents`]), the event records ([`trace`]), the system calls ([`syscall`],
//! [`compat`]), the boot parameters ([`boot`]) and the boot module ([`module`]).
//!
//! All shared structures are `#[repr(C)]`, little-endian by way of the x86-64 machine, without padding, and
//! readable from plain bytes with [`zerocopy`]; no side needs `unsafe` to look at the other's memory.
#![no_std]
#![forbid(unsafe_code)]

pub mod address;
pub mod agents;
pub mod boot;
pub mod compat;
pub mod flow;
pub mod frame;
pub mod info;
pub mod layout;
pub mod loan;
pub mod module;
pub mod process;
pub mod service;
pub mod syscall;
pub mod trace;

pub use address::{Frame, GuestPhys, GuestVirt, Pid};
