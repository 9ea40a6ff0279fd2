//! Signals: a process is made to run its handler, then goes on where it was.

use abi::syscall::Error;

use crate::hardware::Hardware;
use crate::kernel::Kernel;

impl<H: Hardware> Kernel<H> {
    /// Says what the process does on a signal.
    pub(crate) fn handle(&mut self, _slot: usize, _handler: u64, _top: u64, _back: u64) -> Result<(), Error> {
        Err(Error::Invalid)
    }

    /// Sends a signal.
    pub(crate) fn signal(&mut self, _slot: usize, _pid: u64, _number: u64) -> Result<(), Error> {
        Err(Error::Invalid)
    }

    /// The handler has come to its end.
    pub(crate) fn return_from_signal(&mut self, _slot: usize) -> Result<(), Error> {
        Err(Error::Invalid)
    }
}
