//! Why a file is not a dump that can be read.

use std::io;

use address::GuestPhys;

/// A file cannot be used as a dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// It cannot be opened.
    #[error("the file cannot be opened: {0}")]
    Open(#[from] io::Error),
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is no ELF file.
    #[error("this is not an ELF core")]
    NotElf,
    /// It is a dump in a form that this crate does not read.
    #[error("this is {0}")]
    OtherFormat(&'static str),
    /// An ELF file for another kind of machine.
    #[error("this is an ELF file for {0}; only cores of x86-64 machines can be read")]
    OtherMachine(&'static str),
    /// An ELF file that is no core.
    #[error("this is an ELF file of type {0}, not a core (type 4)")]
    NotCore(u16),
    /// The ELF headers contradict themselves, or are cut off.
    #[error("the ELF headers are damaged: {0}")]
    Headers(&'static str),
    /// There are more segments than any dump has.
    #[error("the core has {0} segments, at most {most} make sense", most = super::MOST_SEGMENTS)]
    TooMany(usize),
    /// There is no memory in it.
    #[error("the core holds no memory: no segment to load has any bytes")]
    NoMemory,
    /// It is the core of a process: its segments have no physical addresses.
    #[error("this is the core of a process, not of a machine: all {0} segments are at physical address 0")]
    OfProcess(usize),
    /// A segment is larger than the address space, or lies outside of it.
    #[error("segment {segment} is at {at} and has {bytes:#x} bytes: no x86-64 machine has memory there")]
    Outside {
        /// Its number among the program headers.
        segment: usize,
        /// Where it is to be.
        at: GuestPhys,
        /// Its bytes in memory.
        bytes: u64,
    },
    /// The file ends before its contents do.
    #[error("the file is cut off: segment {segment} needs {needed} bytes of file, there are {present}")]
    Truncated {
        /// Its number among the program headers.
        segment: usize,
        /// Bytes that the file must have.
        needed: u64,
        /// Bytes that it has.
        present: u64,
    },
}

/// Something about a dump that a reader should know, although it can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remark {
    /// So many segments overlap others and come from other places of the file. Where they do, the one that stands first
    /// in the file counts.
    Overlaps(usize),
    /// So many bytes of memory are not in the file. They read as zeros, as ELF has it; programs that filter dumps leave
    /// out other pages as well.
    NotInFile(u64),
    /// So many segments have more bytes in the file than in memory; the rest is ignored.
    LongInFile(usize),
    /// So many notes are damaged, or not what their names say.
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
