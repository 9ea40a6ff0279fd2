//! The loopback network: datagrams between ports, each in a buffer of a bounded pool. (Part of the IPC; in the story:
//! the Merovingian.)

use abi::syscall::Error;

use crate::hardware::Hardware;
use crate::kernel::Kernel;

impl<H: Hardware> Kernel<H> {
    /// Sends a datagram.
    pub(crate) fn post(&mut self, _slot: usize) -> Result<(), Error> {
        Err(Error::Invalid)
    }

    /// Waits for a datagram.
    pub(crate) fn collect(&mut self, _slot: usize) -> Result<(), Error> {
        Err(Error::Invalid)
    }
}
