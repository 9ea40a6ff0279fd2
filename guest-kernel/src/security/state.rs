//! The state of privileges: what its files share.

use crate::base::layer::layer;
use crate::proc::Processes;

/// Privileges, on processes.
pub struct Security<H> {
    pub(super) processes: Processes<H>,
    pub(super) grant_serial: u32,
}

layer!(Security over Processes in processes);

impl<H> Security<H> {
    /// Creates the layer.
    #[inline(always)]
    pub(crate) fn new(processes: Processes<H>) -> Self {
        Self { processes, grant_serial: 0 }
    }
}
