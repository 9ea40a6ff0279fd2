//! Compatibility shims: system calls of older versions. (In the story: vampires, version 1, and ghosts, version 2.)

use abi::syscall::Error;

use crate::hardware::Hardware;
use crate::kernel::Kernel;

impl<H: Hardware> Kernel<H> {
    /// A system call whose number is none of this version's.
    pub(crate) fn old_call(&mut self, _slot: usize, _number: u64) -> Result<(), Error> {
        Err(Error::Invalid)
    }
}
