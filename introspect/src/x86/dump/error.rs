//! Errors and remarks about dumps.

use std::io;

use address::GuestPhys;

/// A file cannot be used as a dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// It cannot be opened.
    #[error("the file cannot be opened: {0}")]
    Open(#[from] io::Error),
    /// It is empty.
    #[error("the file is empty")]
    Empty,
    /// It is not an ELF file.
    #[error("this is not an ELF core")]
    NotElf,
    /// It is a dump in a format that this crate does not read.
    #[error("this is {0}")]
    OtherFormat(&'static str),
    /// It is an ELF file for another kind of machine.
    #[error("this is an ELF file for {0}; only cores of x86-64 machines can be read")]
    OtherMachine(&'static str),
    /// It is an ELF file, but no core.
    #[error("this is an ELF file of type {0}, not a core (type 4)")]
    NotCore(u16),
    /// The ELF headers are inconsistent or cut off.
    #[error("the ELF headers are damaged: {0}")]
    Headers(&'static str),
    /// It has more segments than any dump has.
    #[error("the core has {0} segments, at most {most} make sense", most = super::MOST_SEGMENTS)]
    TooMany(usize),
    /// It holds no memory.
    #[error("the core holds no memory: no segment to load has any bytes")]
    NoMemory,
    /// It is the core of a process: its segments have no physical addresses.
    #[error("this is the core of a process, not of a machine: all {0} segments are at physical address 0")]
    OfProcess(usize),
    /// A segment lies partly or wholly outside the physical address space.
    #[error("segment {segment} is at {at} and has {bytes:#x} bytes: no x86-64 machine has memory there")]
    Outside {
        /// Its number among the program headers.
        segment: usize,
        /// Its guest-physical address.
        at: GuestPhys,
        /// Its size in memory, in bytes.
        bytes: u64,
    },
    /// The file is cut off.
    #[error("the file is cut off: segment {segment} needs {needed} bytes of file, there are {present}")]
    Truncated {
        /// Its number among the program headers.
        segment: usize,
        /// The file size that the segment needs.
        needed: u64,
        /// The actual file size.
        present: u64,
    },
}

/// A peculiarity of a readable dump that its reader should know of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remark {
    /// This many segments overlap others with different contents. Where they do, the one that comes first in
    /// the file counts.
    Overlaps(usize),
    /// This many bytes of memory are not in the file. They read as zeros, as ELF defines; programs that
    /// filter dumps leave out other pages as well.
    NotInFile(u64),
    /// This many segments have more bytes in the file than in memory; the excess is ignored.
    LongInFile(usize),
    /// This many notes are damaged, or do not have the contents that their names promise.
    BadNotes(usize),
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Overlaps(count) => {
                write!(f, "{count} segments overlap others: the first in the file counts")
            }
            Self::NotInFile(bytes) => {
                write!(f, "{bytes} bytes of memory are not in the file and read as zeros")
            }
            Self::LongInFile(count) => write!(f, "{count} segments are longer in the file than in memory"),
            Self::BadNotes(count) => write!(f, "{count} notes are damaged and left out"),
        }
    }
}
