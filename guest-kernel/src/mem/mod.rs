//! Memory: frames, address spaces, and windows onto frames on loan. It owns the frame table, the loan table
//! and the page tables of processes, and touches descriptors where they account for memory. Every layer above
//! calls it.
//!
//! | file | subject |
//! |---|---|
//! | `state` | the structure and its fields |
//! | `pager` | the free list, the quarantine, the epochs |
//! | `frames` | giving frames to processes, and taking them back |
//! | `space` | page tables |
//! | `loans` | loans, their windows, deferred teardown |
//! | `reserve` | pages that a process may have and has not touched yet |
//! | `copy` | data between user memory and the kernel |

pub(crate) mod copy;
mod frames;
pub(crate) mod loans;
pub mod pager;
pub(crate) mod reserve;
pub mod space;
mod state;

pub use state::{LOAN_SLOTS, Memory};
