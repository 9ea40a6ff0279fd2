//! The machine: everything that only exists inside the guest, and all of the kernel's `unsafe`.
//!
//! | file | subject |
//! |---|---|
//! | `apic` | the timer of real time |
//! | `boot` | PVH entry, long mode, first page tables |
//! | `tables` | GDT, TSS, IDT |
//! | `entry` | from a process into the kernel and back |
//! | `machine` | the [`Hardware`](crate::hardware::Hardware) of the guest |
//! | `start` | from the loader's start info to a running kernel |
//! | `nmi` | the handler that trusts nothing |
//! | `panic` | the readable end |
//! | `port`, `serial` | I/O ports, the console |
//! | `user` | system calls from ring 3 and from kernel processes |
#![allow(unsafe_code)]

#[cfg(feature = "kernel")]
mod apic;
#[cfg(feature = "kernel")]
mod boot;
#[cfg(feature = "kernel")]
mod entry;
#[cfg(feature = "kernel")]
mod machine;
#[cfg(feature = "kernel")]
mod nmi;
#[cfg(feature = "kernel")]
pub mod panic;
#[cfg(feature = "kernel")]
mod port;
#[cfg(feature = "kernel")]
mod serial;
#[cfg(feature = "kernel")]
mod start;
#[cfg(feature = "kernel")]
mod tables;
pub mod user;
