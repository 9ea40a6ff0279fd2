//! The machine: everything that only exists inside the guest, and all of the kernel's `unsafe`.
//!
//! | file | subject |
//! |---|---|
//! | `apic` | the timer of real time |
//! | `boot` | PVH entry, long mode, first page tables |
//! | `tables` | GDT, TSS, IDT |
//! | `entry` | from a process into the kernel and back |
//! | `gate` | how a kernel process makes a system call |
//! | `machine` | the [`Hardware`](crate::base::hardware::Hardware) of the guest |
//! | `start` | from the loader's start info to a running kernel |
//! | `nmi` | the handler that trusts nothing |
//! | `panic` | the readable end |
//! | `port`, `serial` | I/O ports, the console |
#![allow(unsafe_code)]

mod apic;
mod boot;
mod entry;
pub(crate) mod gate;
mod machine;
mod nmi;
pub mod panic;
mod port;
mod serial;
mod start;
mod tables;
