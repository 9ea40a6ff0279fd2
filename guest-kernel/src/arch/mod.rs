//! The machine: everything that exists only inside the guest, and all of the kernel's `unsafe`. It calls
//! [`kernel`](crate::kernel) and is called by the processor.
//!
//! | file | subject |
//! |---|---|
//! | `boot` | PVH entry, long mode, first page tables |
//! | `start` | from the loader's start info to a running kernel |
//! | `tables` | GDT, TSS, IDT |
//! | `entry` | from a process into the kernel and back |
//! | `gate`, `processes` | how a kernel process makes a system call; the kernel processes |
//! | `machine` | the [`Hardware`](crate::base::hardware::Hardware) of the guest |
//! | `apic` | the timer of real time |
//! | `nmi` | the NMI handler, which trusts nothing |
//! | `panic` | the readable end |
//! | `port`, `serial` | I/O ports, the console |
//!
//! `start`, `tables`, `entry`, `machine`, `nmi` and `panic` know each other, as the parts of the processor
//! that they stand for do: the tables name the entry points, an entry needs the stack and the kernel of
//! `machine`, and each can end in `panic`, which reads the tables of `start`.
#![allow(unsafe_code)]

mod apic;
mod boot;
mod entry;
mod gate;
mod machine;
mod nmi;
pub mod panic;
mod port;
mod processes;
mod serial;
mod start;
mod tables;
