//! The scheduler's process: acknowledges the timer's interrupt and does what is due. (In the story: the Oracle.)

use abi::syscall::Error;

use crate::hardware::Hardware;
use crate::kernel::Kernel;

impl<H: Hardware> Kernel<H> {
    /// Acknowledges the timer's interrupt, does what is due, waits for the next.
    pub(crate) fn acknowledge(&mut self, _slot: usize) -> Result<(), Error> {
        Err(Error::Invalid)
    }
}
