//! What can be wrong with a kernel image, a boot module or a command line: what, where, and what to do.

use std::path::Path;

use crate::error::{Error, Report};

/// A kernel or a module that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct ImageError {
    /// Which file, or the name of an image that is part of the program.
    pub name: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong. Addresses are guest-physical.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file is not there, or may not be read.
    #[error("cannot read the file: {0}")]
    Unreadable(std::io::Error),
    /// The file is larger than any image that we load.
    #[error("the file is larger than {limit} bytes, the most that is loaded")]
    FileTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// No ELF magic number.
    #[error("this is not an ELF file")]
    NotElf,
    /// Less in the file than it says of itself.
    #[error("the file is truncated: its {what} ends at byte {end}, the file at byte {bytes}")]
    Truncated {
        /// The part that is cut.
        what: String,
        /// Where it should end.
        end: u64,
        /// Length of the file.
        bytes: u64,
    },
    /// ELF32, another processor, another byte order, an object file.
    #[error("this is an ELF file of the wrong kind: {0}")]
    WrongKind(String),
    /// Headers that contradict themselves.
    #[error("the ELF headers make no sense: {0}")]
    BadHeader(String),
    /// Nothing to load.
    #[error("the ELF file has no segment to load")]
    NoSegments,
    /// No PVH entry point.
    #[error("the kernel has no PVH entry point (no ELF note \"Xen\" of type 18)")]
    NoPvhNote,
    /// A PVH note that is broken.
    #[error("the PVH note is broken: {0}")]
    BadPvhNote(String),
    /// A segment where no guest has memory.
    #[error("segment {index} wants the addresses {start:#x} to {end:#x}, {why}")]
    Misplaced {
        /// Its place in the program headers, from 0.
        index: usize,
        /// First address.
        start: u64,
        /// One past the last address.
        end: u64,
        /// What is there.
        why: &'static str,
    },
    /// Two segments want the same bytes.
    #[error("segments {first} and {second} overlap at {at:#x}")]
    Overlap {
        /// The lower one.
        first: usize,
        /// The other one.
        second: usize,
        /// The first address that both want.
        at: u64,
    },
    /// The entry point is in no segment.
    #[error("the PVH entry point {0:#x} lies in no segment that is loaded from the file")]
    EntryOutside(u64),
    /// The guest has too little memory for the kernel.
    #[error("the kernel ends at {end:#x}, beyond the guest's {memory_mib} MiB of memory")]
    MemoryTooSmall {
        /// One past its last byte.
        end: u64,
        /// What the guest has.
        memory_mib: u64,
        /// What would do.
        needed_mib: u64,
    },
    /// The guest has too little memory for kernel and module.
    #[error("the module has {bytes} bytes, too many above the kernel in {memory_mib} MiB of memory")]
    ModuleTooLarge {
        /// Its length.
        bytes: u64,
        /// What the guest has.
        memory_mib: u64,
        /// What would do, if anything does.
        needed_mib: Option<u64>,
    },
    /// The command line is too long.
    #[error("the command line has {bytes} bytes; {limit} fit")]
    CommandLineTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The command line holds a zero byte.
    #[error("the command line holds a zero byte, where the kernel would see its end")]
    CommandLineZero,
    /// `linux-loader` refused what our own checks let pass.
    #[error("the loader refuses the image: {0}")]
    Loader(String),
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        Self::Input(error.report())
    }
}

impl ImageError {
    /// An error about the file or image called `name`.
    pub fn new(name: &str, problem: Problem) -> Self {
        Self { name: name.to_owned(), problem }
    }

    /// The same for a path.
    pub fn path(path: &Path, problem: Problem) -> Self {
        Self { name: path.display().to_string(), problem }
    }

    /// What, where, remedy.
    pub fn report(&self) -> Report {
        Report::new(self.to_string(), &self.name, self.problem.remedy())
    }
}

impl Problem {
    fn remedy(&self) -> String {
        let text = match self {
            Self::Unreadable(_) => "check the path and its permissions",
            Self::FileTooLarge { .. } => "give the kernel itself, stripped of debug information (`strip -g`)",
            Self::Empty | Self::Truncated { .. } => "build or copy the file again",
            Self::NotElf | Self::WrongKind(_) => {
                "give an ELF64 x86-64 kernel with a PVH entry point; of Linux that is `vmlinux`, not `bzImage`"
            }
            Self::BadHeader(_) | Self::BadPvhNote(_) | Self::Loader(_) => {
                "link the kernel again, and look at it with `readelf -lnW`"
            }
            Self::NoSegments => "link the kernel as an executable, with PT_LOAD program headers",
            Self::NoPvhNote => {
                "add the note, in a PT_NOTE segment; of Linux it comes with CONFIG_PVH=y (see `readelf -n`)"
            }
            Self::Misplaced { .. } => {
                "link the kernel at 1 MiB or above and below 3 GiB; physical addresses (p_paddr) count"
            }
            Self::Overlap { .. } => "give each PT_LOAD segment physical addresses (p_paddr) of its own",
            Self::EntryOutside(_) => "let the PVH note name a physical address inside of a loaded segment",
            Self::MemoryTooSmall { needed_mib, .. } => {
                return format!("give the guest at least {needed_mib} MiB of memory: --mem {needed_mib}");
            }
            Self::ModuleTooLarge { needed_mib: Some(needed_mib), .. } => {
                return format!("give a smaller module, or more memory: --mem {needed_mib}");
            }
            Self::ModuleTooLarge { needed_mib: None, .. } => "give a smaller module",
            Self::CommandLineTooLong { .. } | Self::CommandLineZero => "change the command line (--cmdline)",
        };
        text.to_owned()
    }
}
