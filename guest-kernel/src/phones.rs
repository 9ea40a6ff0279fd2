//! Phones: system calls that run a piece of the caller's code in kernel context. (In the story: the phones.)

use abi::syscall::Error;

use crate::hardware::Hardware;
use crate::kernel::Kernel;

impl<H: Hardware> Kernel<H> {
    /// Picks up: the caller's function runs in ring 0.
    pub(crate) fn phone(&mut self, _slot: usize, _function: u64, _argument: u64) -> Result<(), Error> {
        Err(Error::Invalid)
    }

    /// Hangs up: back to ring 3.
    pub(crate) fn hang_up(&mut self, _slot: usize, _result: u64) -> Result<(), Error> {
        Err(Error::Invalid)
    }
}
