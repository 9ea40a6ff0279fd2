//! A reverse map that is kept up to date: after the guest has run, only the changed table pages are read
//! again.
//!
//! [`Followed`] keeps the tree of each address space as it was last read: for each table, at each of its
//! places in a tree, its used entries and the tables below. A changed table is read and compared entry by
//! entry. A removed entry takes its pages, or the whole tree behind it, out of the map; a new one adds its
//! own. The comparison is exact: without a dirty log
//! ([`Changed::everything`](crate::x86::Changed::everything)) all tables are read and the result is the same.
//! Accessed and dirty bits are not compared.
//!
//! The map always equals what [`ReverseMap::rebuild`](crate::x86::ReverseMap::rebuild) builds. While tables
//! are damaged (holes, reserved bits, endless cycles) or a budget would be exceeded, each update is such a
//! rebuild. This folder uses the walk and the reverse map; audits of running guests call it.

mod followed;
mod node;
mod tree;

pub use followed::{Followed, Touched};
