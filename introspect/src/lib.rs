//! Reads an x86-64 guest from outside. Knows nothing of KVM: all it needs is [`PhysicalMemory`].
//!
//! The way from bytes to a verdict has six steps, each a module:
//!
//! - [`memory`]: guest-physical memory, readable by address; a running guest's, or that in a file ([`dump`]);
//! - [`paging`] and [`walk`]: what page-table entries mean, and the walk through a tree of them;
//! - [`space`]: the guest's own tables, and from them its address spaces;
//! - [`roots`]: address spaces that memory itself shows, whoever names them;
//! - [`reverse`]: frame to mappings, over all address spaces; [`follow`]: the same, kept up to date by what has
//!   [`changed`];
//! - [`policy`]: which of these mappings should not be.
//!
//! Beside it stands [`symbols`]: names for addresses, from a kernel's own ELF file.
//!
//! Nothing read from a guest is trusted. Whatever its memory holds, a reading ends within a bound that is known
//! beforehand, and does not panic.
//!
//! # What people do first
//!
//! The examples look into [`sample`], a guest of 256 KiB with two processes. Any core of the Matrix will do in its place.
//!
//! Open a dump and list its address spaces: those that the guest names, and those that are found in memory, whoever
//! names them. For the dump of a foreign guest only the second way is open, from [`Dump::root`] on.
//!
//! ```
//! use introspect::{Dump, Guest, roots, sample};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("core.elf");
//! # sample::write_core(&path)?;
//! let dump = Dump::open(&path)?;
//! let guest = Guest::read(&dump, dump.find_info().ok_or("this is not the Matrix")?)?;
//! for space in guest.spaces() {
//!     println!("{:>5}  {}", space.pid.to_string(), space.root);
//! }
//!
//! let root = dump.root().ok_or("this dump does not tell where page tables begin")?;
//! let found = roots::sharing(&dump, dump.paging(), dump.frames(), root).roots;
//! assert_eq!(found.len(), guest.spaces().count(), "nobody hides");
//! # Ok(())
//! # }
//! ```
//!
//! Who maps this frame, where, and by which page-table entry?
//!
//! ```
//! use introspect::{Dump, Guest, ReverseMap, sample};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("core.elf");
//! # sample::write_core(&path)?;
//! let dump = Dump::open(&path)?;
//! let guest = Guest::read(&dump, dump.find_info().ok_or("this is not the Matrix")?)?;
//! let map = ReverseMap::build(&dump, dump.paging(), guest.spaces(), ReverseMap::BUDGET);
//! let lines: Vec<_> = map
//!     .of(sample::LEAKED)
//!     .iter()
//!     .map(|m| format!("{} maps it at {}, {}, by the entry at {}", map.pid(*m), m.virt(), m.rights(), m.entry()))
//!     .collect();
//! assert_eq!(lines, [
//!     "1.0 maps it at 0x803000, rw-u, by the entry at 0xd018",
//!     "2.0 maps it at 0x807000, rw-u, by the entry at 0x11038",
//! ]);
//! # Ok(())
//! # }
//! ```
//!
//! What is shared that should not be? The guest's frame table says whose a frame is, its loan table who may use it
//! nevertheless.
//!
//! ```
//! use introspect::{Dump, Guest, ReverseMap, What, policy, sample};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("core.elf");
//! # sample::write_core(&path)?;
//! let dump = Dump::open(&path)?;
//! let guest = Guest::read(&dump, dump.find_info().ok_or("this is not the Matrix")?)?;
//! let map = ReverseMap::build(&dump, dump.paging(), guest.spaces(), ReverseMap::BUDGET);
//! let findings = policy::check(&map, &guest.frames, &guest.loans);
//! // The program's page is shared as well, and rightly so.
//! assert_eq!(map.shared().count(), 2);
//! assert_eq!(findings.len(), 1);
//! assert_eq!((findings[0].what, findings[0].frame), (What::Leak, sample::LEAKED));
//! let intruder = findings[0].uncovered().next().ok_or("a leak has an intruder")?;
//! assert_eq!(intruder.pid, sample::VISITOR);
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

pub mod changed;
pub mod dump;
pub mod follow;
mod frames;
mod lists;
pub mod memory;
pub mod paging;
pub mod policy;
pub mod reverse;
pub mod roots;
pub mod sample;
pub mod space;
pub mod symbols;
pub mod walk;

pub use changed::Changed;
pub use dump::{Dump, DumpError};
pub use follow::{Followed, Touched};
pub use memory::{OutOfRange, PhysicalMemory};
pub use paging::{PageSize, Paging, Rights};
pub use policy::{Finding, Policy, What};
pub use reverse::{Mapped, Reach, ReverseMap};
pub use space::{Guest, Space};
pub use walk::{Budget, Cycle, Half, Mapping, Mappings, NotMapped, Translation, WalkSummary};
