//! How an incarnation of a guest ends, and where its console goes until then.

use std::fs::File;
use std::io::{self, Write};

/// Where a guest's console goes: a file, or nowhere.
pub(super) struct Console(pub(super) Option<File>);

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(bytes.len()), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), File::flush)
    }
}

/// Why a machine was reset; the numbers of [`abi::trace::Kind::Reset`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    Guest = 1,
    Watchdog = 2,
    /// Triple fault, or an instruction that the host's KVM cannot carry out: the same to the guest.
    Processor = 3,
}

/// How an incarnation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The run's time is over.
    Lasted,
    /// After a reset: long enough to judge it.
    Settled {
        healthy: bool,
    },
    Reset(Cause),
    /// No progress, and no watchdog to find out.
    Hung,
    Signal(i32),
}
