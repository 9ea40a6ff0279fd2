//! A KVM virtual machine monitor as a library: boots an x86-64 kernel, runs it from event to event, keeps and restores
//! its whole state.
//!
//! The data flows one way:
//!
//! ```text
//! machine (loader, board, snapshot) -> host (kvm, memory, cpu) -> exit -> devices -> event -> the caller
//!                                      wall: real time, signals, standard input
//! ```
//!
//! Only [`host::kvm`] talks to `/dev/kvm`. Unsafe code stands there and in [`host::memory`]. Nothing here knows what
//! the guest keeps in its memory.

pub mod error;
pub mod host;
pub mod machine;
pub mod probe;
pub mod wall;

pub use error::{Error, VmmError};
