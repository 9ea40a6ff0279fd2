//! Dumps: a guest's memory in a file, either an ELF core or plain bytes from address 0 on. A [`Dump`] reads
//! what QEMU's `dump-guest-memory`, Linux's kdump (as ELF) and [`CoreWriter`] write. The file is mapped, not
//! read: opening takes the same time for any size, and page tables are read in place. Headers are checked
//! once, at opening: a damaged dump is a [`DumpError`], a peculiarity is a [`Remark`].
//!
//! The notes locate the page tables: [`Dump::cpus`] with their control registers, and [`Dump::vmcoreinfo`].
//! [`Dump::root`] combines both. [`CoreWriter`] writes cores. This folder uses [`super::memory`] and
//! [`super::paging`]; the readers of dump files call it.

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
