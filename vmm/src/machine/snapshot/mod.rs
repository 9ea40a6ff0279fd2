//! Snapshots: a guest as it was at one moment, from which any number of guests can be started.
//!
//! Owns [`Snapshot`], which never changes, and its file format. May use `host` and the board's state; called
//! by `Machine` and the pool. A machine that is started from a snapshot has its memory mapped copy-on-write,
//! so that it costs only the pages that it writes; a machine that is restored to it has only those pages
//! copied back.

mod data;
mod file;

pub use data::{Snapshot, hash};
pub use file::{Origin, load, save};
