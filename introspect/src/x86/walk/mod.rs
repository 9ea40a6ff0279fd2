//! The page walk, as the processor does it: of one address ([`Paging::translate`]), or of a whole tree
//! ([`Paging::walk`], and as an iterator [`Paging::mappings`]). Uses memory and the format of entries; the
//! reverse map and readers of dumps call it.
//!
//! [`Paging::translate`]: crate::x86::Paging::translate
//! [`Paging::walk`]: crate::x86::Paging::walk
//! [`Paging::mappings`]: crate::x86::Paging::mappings
//!
//! Tables are data that a broken or hostile guest wrote. A walk never panics and always ends: an entry that
//! leads nowhere is counted and skipped; a tree that is too large is cut at a [`Budget`]. A table page is
//! read once for each of its places in the tree, always whole.
//!
//! A tree may contain itself. Some kernels do that on purpose: one entry of the root names the root, and the
//! page tables appear as pages ([`WalkSummary::self_map`]). The processor follows such an entry, and so does
//! a walk, which notes the entry as a [`Cycle`]. A root that names itself 512 times has 512⁴ leaves: its walk
//! ends at the budget, and [`Truncated::cycle`] names the cycle that is the reason.

mod entry_points;
mod mappings;
mod types;
mod walker;

pub use mappings::Mappings;
pub(crate) use types::shift;
pub use types::{
    BadEntry, Budget, Cycle, Half, Mapping, NotMapped, TablePage, Translation, Truncated, WalkSummary, Why,
};
