//! The Matrix: a small message-passing kernel for x86-64. Its programs are in the crate `guest-user`.
//!
//! One CPU, one kernel stack, no interrupts inside the kernel: every entry saves its registers straight into
//! the descriptor of the process that made it, runs to completion, and resumes a process. Everything that
//! decides is in [`kernel::Kernel`], which knows the machine only as a [`base::hardware::Hardware`], so that
//! it runs in host tests as it runs in the guest. All `unsafe` is in `arch`, which exists only inside the
//! guest.
//!
//! The kernel is a stack of layers. Each is a struct that contains the one below it and has private state of
//! its own; it calls downwards as if the lower layers were itself ([`Deref`](core::ops::Deref)), and the
//! compiler lets nothing call upwards.
//!
//! | layer | folder | owns |
//! |---|---|---|
//! | [`kernel::Kernel`] | [`kernel`] | entry, the clock, the host's orders |
//! | [`syscall::Syscalls`] | [`syscall`], [`compat`] | which calls there are, and those of older versions |
//! | [`security::Security`] | [`security`] | keys, the grant log, tagging |
//! | [`proc::Processes`] | [`proc`] | birth and death, services, faults, signals, phones |
//! | [`ipc::Ipc`] | [`ipc`] | ports, buffers, the gateway, flows, taps |
//! | [`sched::Scheduler`] | [`sched`] | which process runs next, timers |
//! | [`mem::Memory`] | [`mem`] | frames, page tables, loans |
//! | [`base::Core`] | [`base`] | the machine, the process table, the trace |
#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(target_os = "none")]
pub mod arch;
pub mod base;
pub mod compat;
pub mod ipc;
pub mod kernel;
pub mod mem;
pub mod proc;
pub mod sched;
pub mod security;
pub mod syscall;
#[cfg(test)]
mod testing;
