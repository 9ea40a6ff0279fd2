//! Properties that must hold for any guest memory. Each target makes a small memory or a file from bytes,
//! reads it in more than one way, and panics if the results differ or a bound is exceeded. libFuzzer chooses
//! the bytes (`cargo xtask fuzz`); `cargo test` uses generated ones instead.
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
