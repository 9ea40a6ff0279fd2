//! Services: what was started at boot and is to be there; and the commands of the host's monitor.

use crate::hardware::Hardware;
use crate::kernel::Kernel;

impl<H: Hardware> Kernel<H> {
    /// Takes the commands that the host has given.
    pub(crate) fn take_commands(&mut self) {}
}
