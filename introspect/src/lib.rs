//! Reads an x86-64 guest from outside. Knows nothing of KVM: all it needs is [`PhysicalMemory`].
//!
//! - [`x86`]: any guest. Memory and dumps, page walk, address spaces found in memory, frame to mappings, symbols.
//! - [`matrix`] (feature `matrix`, on by default): the Matrix's own tables, and the policy that says which mappings should
//!   not be.
//!
//! Nothing read from a guest is trusted. Whatever its memory holds, a reading ends within a known bound and does not
//! panic.
//!
//! # Any guest
//!
//! Open a dump, list the address spaces that are in memory, and say who maps a frame. The example uses
//! [`matrix::sample`], a guest of 256 KiB with two processes; a core of any x86-64 kernel does in its place.
//!
//! ```
//! use introspect::x86::{Dump, ReverseMap, Space, SpaceId, roots};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("core.elf");
//! # introspect::matrix::sample::write_core(&path)?;
//! let dump = Dump::open(&path)?;
//! let root = dump.root().ok_or("this dump does not say where page tables begin")?;
//! let found = roots::sharing(&dump, dump.paging(), dump.frames(), root).roots;
//! let spaces = found.iter().map(|root| Space { id: SpaceId(root.at.0), root: root.at });
//! let map = ReverseMap::build(&dump, dump.paging(), spaces, ReverseMap::BUDGET);
//! for mapping in map.shared().next().ok_or("nothing is shared")? {
//!     let (frame, space) = (mapping.frame(), map.id(*mapping));
//!     println!("{frame}: {space} maps it at {}, {}", mapping.virt(), mapping.rights());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The Matrix
//!
//! What is shared that should not be? The guest's frame table says whose a frame is, its loan table who else may use it.
//!
//! ```
//! use introspect::matrix::{Guest, What, find_info, policy, sample};
//! use introspect::x86::{Dump, ReverseMap};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("core.elf");
//! # sample::write_core(&path)?;
//! let dump = Dump::open(&path)?;
//! let guest = Guest::read(&dump, find_info(&dump).ok_or("this is not the Matrix")?)?;
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

#[cfg(feature = "matrix")]
pub mod matrix;
pub mod x86;

pub use x86::{
    Budget, Changed, Cycle, Dump, DumpError, Followed, Half, Mapped, Mapping, Mappings, NotMapped,
    OutOfRange, PageSize, Paging, PhysicalMemory, Reach, ReverseMap, Rights, Space, SpaceId, Touched,
    Translation, WalkSummary,
};
