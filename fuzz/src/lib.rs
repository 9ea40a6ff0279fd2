//! What must hold whatever memory a guest leaves behind. Each target takes bytes, makes a small memory or a file of
//! them, reads it in more than one way, and panics where the ways differ or a bound is passed. libFuzzer chooses the
//! bytes (`scripts/fuzz`); `cargo test` does without it and takes generated ones.
#![forbid(unsafe_code)]

mod core;
mod follow;
mod input;
mod memory;
mod roots;
mod walker;

pub use self::core::core;
pub use follow::follow;
pub use roots::roots;
pub use walker::walker;
