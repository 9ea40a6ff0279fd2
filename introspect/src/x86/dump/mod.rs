//! Dumps: a guest's memory in a file, either an ELF core or plain bytes from address 0 on.
//!
//! A [`Dump`] reads what QEMU's `dump-guest-memory`, Linux's kdump (as ELF) and our own `--core` write. The file is mapped and
//! not read: opening takes the same time for any size, and page tables are looked at where they lie in the file. Headers
//! are checked once, when it is opened; what makes no sense is a [`DumpError`], what is merely worth knowing a
//! [`Remark`].
//!
//! The notes say where to begin: [`Dump::cpus`] with their control registers, [`Dump::vmcoreinfo`]. [`Dump::root`] puts
//! both together. [`CoreWriter`] is the other direction.

mod cpu;
mod elf;
mod error;
mod file;
mod limits;
mod mapped_file;
mod pieces;
mod vmcoreinfo;
mod write;

pub use self::cpu::{Control, Cpu, Segment};
pub use self::error::{DumpError, Remark};
pub use self::file::Dump;
pub use self::limits::{MOST_CPUS, MOST_SEGMENTS};
pub use self::mapped_file::MappedFile;
pub use self::pieces::Piece;
pub use self::vmcoreinfo::VmCoreInfo;
pub use self::write::{CoreWriter, Region};
