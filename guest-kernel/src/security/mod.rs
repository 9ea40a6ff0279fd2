//! Privileges: keys and the log of what was granted, Agents and the processes that they tag. It owns the
//! grant log. System calls call it.
//!
//! | file | subject |
//! |---|---|
//! | `keys` | which uid may have which keys, and the grant log (the Keymaster) |
//! | `agents` | the kernel half of intrusion detection: attaching, tagging, examining (the Agents) |

pub(crate) mod agents;
pub mod keys;

use crate::base::layer::layer;
use crate::proc::Processes;

/// Privileges, on processes.
pub struct Security<H> {
    processes: Processes<H>,
    grant_serial: u32,
}

layer!(Security over Processes in processes);

impl<H> Security<H> {
    /// Creates the layer.
    #[inline(always)]
    pub(crate) fn new(processes: Processes<H>) -> Self {
        Self { processes, grant_serial: 0 }
    }
}
