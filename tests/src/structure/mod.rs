//! The structure of the code: which module uses which, computed from the syntax trees of all files.
//!
//! [`crate_modules`] reads a crate's files through their `mod` declarations, [`uses`] resolves the paths in them to
//! modules, and [`violations`] says which of these uses break the rules:
//!
//! - no module uses an item of a module above it (an *upward import*): what children need stands in a sibling below them;
//! - no two modules use each other, directly or round a circle;
//! - the same holds for folders: of the children of one module, taken with all that is below them, none form a circle.
//!
//! A module may use its children. Re-exports are followed to where the item is defined, so `mod.rs` files may re-export.
//! Tests (`#[cfg(test)]`) and the bodies of macros are not read.

mod modules;
mod paths;
mod rules;

pub use modules::{Module, crate_modules};
pub use paths::{Use, uses};
pub use rules::{Violation, violations};
