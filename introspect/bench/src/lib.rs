//! The time to walk address spaces and build a reverse map: `introspect`, [memflow], [vmi-rs] and a bare
//! walker on the same dump, with the same results.
//!
//! [memflow]: https://crates.io/crates/memflow [vmi-rs]: https://crates.io/crates/vmi-core
#![forbid(unsafe_code)]

pub mod dump;
pub mod walkers;
