//! The page walk: what the processor would find in a tree of page tables, one address at a time
//! ([`Paging::translate`]) or all of it ([`Paging::walk`], and as an iterator [`Paging::mappings`]).
//!
//! [`Paging::translate`]: crate::x86::Paging::translate
//! [`Paging::walk`]: crate::x86::Paging::walk
//! [`Paging::mappings`]: crate::x86::Paging::mappings
//!
//! Tables are data that a broken or hostile guest wrote. A walk never panics and never runs for ever: an entry that
//! leads nowhere is counted and left; a tree that is too large is cut at a [`Budget`]. A table page is read once for each
//! place where it hangs in the tree, always whole.
//!
//! A tree may contain itself. Some kernels do that on purpose: one entry of the root names the root, and the page tables
//! appear as pages ([`WalkSummary::self_map`]). The processor follows such an entry, and so does a walk; it notes the
//! entry as a [`Cycle`]. A root that names itself 512 times has 512⁴ leaves: its walk ends at the budget, and
//! [`Truncated::cycle`] says that a cycle is the reason, and which.

mod entry_points;
mod mappings;
mod types;
mod walker;

pub use mappings::Mappings;
pub(crate) use types::shift;
pub use types::{
    BadEntry, Budget, Cycle, Half, Mapping, NotMapped, TablePage, Translation, Truncated, WalkSummary, Why,
};
