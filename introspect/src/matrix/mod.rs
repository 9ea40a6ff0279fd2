//! The Matrix, read from outside: its tables, its address spaces, and which mappings should not be.
//!
//! Owns all that depends on the contract with the Matrix (`abi`), and uses [`crate::x86`], which knows
//! nothing of it. Audits of running guests and readers of dumps call it.
//!
//! The guest's frame table names the owner of a frame, its loan table the other processes that may use it.
//! Which frames are shared without a right? The example reads [`sample`], a guest of 256 KiB with two
//! processes.
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
//! // The program's page is shared as well, with a right.
//! assert_eq!(map.shared().count(), 2);
//! assert_eq!(findings.len(), 1);
//! assert_eq!((findings[0].what, findings[0].frame), (What::Leak, sample::LEAKED));
//! let intruder = findings[0].uncovered().next().ok_or("a leak has an intruder")?;
//! assert_eq!(intruder.pid, sample::VISITOR);
//! # Ok(())
//! # }
//! ```

pub mod guest;
pub mod info;
pub mod policy;
pub mod roots;
pub mod sample;
pub mod space;

pub use guest::Guest;
pub use info::find_info;
pub use policy::{Finding, Policy, What};
