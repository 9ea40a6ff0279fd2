//! Privileges: keys and the log of what was granted, Agents and the processes that they tag. It owns the
//! grant log. System calls call it.
//!
//! | file | subject |
//! |---|---|
//! | `state` | the structure and its fields |
//! | `keys` | which uid may have which keys, and the grant log (the Keymaster) |
//! | `agents` | the kernel half of intrusion detection: attaching, tagging, examining (the Agents) |

pub(crate) mod agents;
pub mod keys;
mod state;

pub use state::Security;
