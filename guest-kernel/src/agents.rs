//! Intrusion detection, the kernel half: taps messages and system calls for the daemons that judge them. (In the story:
//! the Agents.)

use abi::syscall::Error;

use crate::hardware::Hardware;
use crate::kernel::Kernel;

impl<H: Hardware> Kernel<H> {
    /// Gives an Agent its state page.
    pub(crate) fn attach(&mut self, _slot: usize, _class: u64) -> Result<u64, Error> {
        Err(Error::Invalid)
    }

    /// Tags a violator and kills it.
    pub(crate) fn tag(&mut self, _slot: usize, _pid: u64, _heuristic: u64, _score: u64) -> Result<(), Error> {
        Err(Error::Invalid)
    }

    /// Reads another process's memory.
    pub(crate) fn examine(
        &mut self,
        _slot: usize,
        _pid: u64,
        _at: u64,
        _buffer: u64,
        _bytes: u64,
    ) -> Result<(), Error> {
        Err(Error::Invalid)
    }
}
