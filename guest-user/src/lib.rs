//! Ring 3 of the Matrix: the library that programs are written with. The programs are in `src/bin`, one file
//! each.
//!
//! A program names its main function with `program!` and makes system calls through `system::SYSTEM`. It
//! knows the kernel only by `abi`, and its unsafe code is all in `arch`.
//!
//! | module | subject |
//! |---|---|
//! | `system` | one function for each system call |
//! | `nursing` | keeping a number of children alive |
//! | `directory` | a directory of names and ports with leases |
//! | `agency` | the daemon half of intrusion detection (the Agents) |
//! | `arch` | the system call instruction, a program's entry point |
#![no_std]

#[cfg(test)]
extern crate std;

pub mod agency;
#[cfg(target_os = "none")]
pub mod arch;
pub mod directory;
#[cfg(target_os = "none")]
pub mod nursing;
#[cfg(target_os = "none")]
pub mod system;
