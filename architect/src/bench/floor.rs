//! The yardstick: a static program without a library (`floor.c`, built by the build script), run as a process of its own
//! that does one thing at a time, on command, and tells how long it took.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use rustix::fs::MemfdFlags;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::error::{Error, VmmError};

const PROGRAM: &[u8] = include_bytes!(env!("BENCH_FLOOR"));

/// The program, in a file without a name.
pub(super) struct Floor {
    file: File,
}

impl Floor {
    pub(super) fn new() -> Result<Self, Error> {
        let file = rustix::fs::memfd_create("floor", MemfdFlags::empty()).map(File::from);
        let file = file.map_err(std::io::Error::from).and_then(|mut file| {
            file.write_all(PROGRAM)?;
            // A program that somebody has open for writing cannot be run.
            File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        });
        Ok(Self { file: file.map_err(failed)? })
    }

    pub(super) fn command(&self) -> Command {
        Command::new(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }

    /// Starts it, to be commanded.
    pub(super) fn attend(&self) -> Result<Attendant, Error> {
        let here = OneProcessor::stay();
        let child = self.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Ok(Attendant { child: child.map_err(failed)?, _here: here })
    }
}

/// The program at work, on the processor of who commands it. It ends when this is dropped.
pub(super) struct Attendant {
    child: Child,
    _here: OneProcessor,
}

impl Attendant {
    /// Does one thing, see `floor.c`; gives microseconds.
    pub(super) fn measure(&mut self, what: u8, number: u32) -> Result<f64, Error> {
        let mut nanoseconds = [0; 8];
        let mut talk = || {
            let [a, b, c, d] = number.to_le_bytes();
            let (Some(to), Some(from)) = (&mut self.child.stdin, &mut self.child.stdout) else {
                return Ok(());
            };
            to.write_all(&[what, a, b, c, d])?;
            from.read_exact(&mut nanoseconds)
        };
        talk().map_err(failed)?;
        Ok(u64::from_le_bytes(nanoseconds) as f64 / 1e3)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Has this thread, and what it starts, stay on the processor that it is on, where the host lets it: product and floor run
/// by turns, and on two processors of one machine the same call can take different time. Over when this is dropped.
struct OneProcessor(Option<CpuSet>);

impl OneProcessor {
    fn stay() -> Self {
        let (before, processor) = (sched_getaffinity(None).ok(), sched_getcpu());
        let mut here = CpuSet::new();
        if processor < CpuSet::MAX_CPU {
            here.set(processor);
        }
        // A set without any is refused.
        Self(before.filter(|_| sched_setaffinity(None, &here).is_ok()))
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = sched_setaffinity(None, before);
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    VmmError::resource("the yardstick")(error).into()
}
