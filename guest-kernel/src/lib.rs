//! The Matrix: a small message-passing kernel for x86-64, whose programs are in the crate `guest-user`.
//!
//! One CPU, one kernel stack, no interrupts inside the kernel: every entry saves its registers straight into the
//! descriptor of the process that made it, runs to completion, and resumes a process. Everything that decides is in
//! [`kernel::Kernel`], which knows the machine only as a [`hardware::Hardware`], so that it runs in host tests as it
//! runs in the guest. All `unsafe` is in `arch`, which exists only inside the guest.
//!
//! | file | subject |
//! |---|---|
//! | [`kernel`] | entry, ticks, idle time |
//! | [`scheduler`], [`oracle`] | who runs next, switch and hand-off; the process that attends to the timer (the Oracle) |
//! | [`ipc`], [`loans`] | ports, messages, frames on loan (the Merovingian) |
//! | [`network`], [`buffers`], [`flows`] | datagrams, their buffers, who sends to whom (the Merovingian) |
//! | [`gateway`] | data between user memory and the kernel (the Trainman) |
//! | [`pager`], [`space`] | frames, quarantine, page tables |
//! | [`process`] | birth, death, reaping |
//! | [`keys`] | the privilege subsystem, a kernel process, and the grant log (the Keymaster) |
//! | [`agents`] | intrusion detection: the kernel half (the Agents) |
//! | [`services`] | the service table, the host's commands |
//! | [`signals`], [`phones`] | a process's handler; a piece of its code in kernel context |
//! | [`shims`] | system calls of versions 1 and 2 (vampires, ghosts) |
//! | [`syscalls`], [`faults`] | what a kernel entry asks for |
//! | [`timers`], [`queue`] | who waits for a tick, who waits in line |
//! | [`hardware`] | what the kernel asks of a machine |
//! | [`params`], [`module`] | command line and boot module |
#![no_std]

#[cfg(test)]
extern crate std;

pub mod agents;
#[cfg(target_os = "none")]
pub mod arch;
pub mod broken;
pub mod buffers;
pub mod faults;
pub mod flows;
pub mod gateway;
pub mod hardware;
pub mod ipc;
pub mod kernel;
pub mod keys;
pub mod loans;
pub mod module;
pub mod network;
pub mod oracle;
#[cfg(target_os = "none")]
mod own_calls;
pub mod pager;
pub mod params;
pub mod phones;
pub mod process;
pub mod queue;
pub mod scheduler;
pub mod services;
pub mod shims;
pub mod signals;
pub mod space;
pub mod syscalls;
#[cfg(test)]
mod testing;
pub mod timers;
