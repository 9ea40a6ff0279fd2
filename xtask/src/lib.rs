//! Checks of the workspace's own code and texts, which `cargo xtask` and the crate `tests` share.

pub mod structure;
pub mod style;
