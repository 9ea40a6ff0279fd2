//! A reverse map that is kept up to date: of a guest that ran on, only the table pages that changed are read again.
//!
//! What is kept is the tree of each address space as it was last read: for each table, at each place where it hangs, its
//! used entries and the tables below. A table that changed is read and compared with them, entry by entry; an entry that
//! is gone takes its pages out of the map, or the whole tree behind it, and a new one brings its own. So the comparison
//! is exact, and without a dirty log ([`Changed::everything`](crate::x86::Changed::everything)) the result is the same: all tables are read, and only
//! differences cost more. Accessed and dirty bits are no part of what is compared.
//!
//! [`ReverseMap::rebuild`](crate::x86::ReverseMap::rebuild) says what a map has to be, and this one is never anything else. Where tables are not in order
//! (holes, reserved bits, cycles without end) or a budget would be spent, there are no short cuts: the map is built by
//! it, until all is well again.

mod followed;
mod node;
mod tree;

pub use followed::{Followed, Touched};
