//! What must hold whatever memory a guest leaves behind. Each target takes bytes, makes a small memory or a file of
//! them, reads it in more than one way, and panics where the ways differ or a bound is passed. libFuzzer chooses the
//! bytes (`scripts/fuzz`); `cargo test` does without it and takes generated ones.
#![forbid(unsafe_code)]

mod input;
mod memory;
mod walker;

pub use walker::walker;
