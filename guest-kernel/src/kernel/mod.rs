//! The kernel: entry, the clock, the host's orders. It puts the layers together, decides when a switch
//! happens, and is called by the machine only.
//!
//! | file | subject |
//! |---|---|
//! | `entry` | the structure and its fields |
//! | `clock` | the virtual clock, ticks, idle time |
//! | `orders` | what the host orders at a tick |

mod clock;
mod entry;
mod orders;

pub(crate) use entry::VECTOR_TIMER;
pub use entry::{Kernel, Tables};
