//! Any x86-64 guest, read from outside: memory, page tables, address spaces, and the mappings of each frame.
//!
//! Owns everything that follows from guest-physical memory and the processor's rules alone. It uses no other
//! module of this crate, and knows no guest kernel; the modules about guest kernels and the programs that
//! read dumps call it. From the bottom up: [`memory`], [`paging`], [`walk`], [`space`], [`reverse`],
//! [`follow`]; beside them [`dump`], [`roots`] and [`symbols`].

pub mod changed;
pub mod dump;
pub mod follow;
mod frames;
mod lists;
pub mod memory;
pub mod paging;
pub mod reverse;
pub mod roots;
pub mod space;
pub mod symbols;
pub mod walk;

pub use changed::Changed;
pub use dump::{Dump, DumpError};
pub use follow::{Followed, Touched};
pub use memory::{OutOfRange, PhysicalMemory};
pub use paging::{PageSize, Paging, Rights};
pub use reverse::{Mapped, Reach, ReverseMap};
pub use space::{Space, SpaceId};
pub use walk::{Budget, Cycle, Half, Mapping, Mappings, NotMapped, Translation, WalkSummary};
