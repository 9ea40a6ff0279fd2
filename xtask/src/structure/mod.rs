//! The structure of the code: which module uses which, computed from the syntax trees of all files.
//!
//! [`crate_modules`] reads a crate's files through their `mod` declarations, [`uses`] resolves the paths in
//! them to modules, [`violations`] says which of these uses break the rules, and [`Survey`] does all this for
//! the workspace.
//!
//! A module *uses* another one where a path in its code (in a `use`, a type, an expression or the arguments
//! of a macro) names an item of that module. A re-export (`pub use`) is followed to where the item is
//! defined, so a `mod.rs` may re-export from its children. A module may use its children. The rules:
//!
//! - No module uses an item of one of its ancestors (an *upward import*): what children need is in a sibling
//!   of theirs.
//! - Of the children of one module, each taken with all that is below it, none use each other, directly or
//!   through further siblings (a *circle*). This holds at the level of files and at that of folders. One of
//!   the uses of a circle points from a lower layer to a higher one; which one, the code alone cannot tell.
//!
//! Code that exists in tests only (`#[cfg(test)]`) and the definitions of macros are not read. A path whose
//! item comes from a private `use` of an ancestor counts as a use of the ancestor.

mod modules;
mod paths;
mod rules;
mod survey;

pub use modules::{Module, crate_modules};
pub use paths::{Use, uses};
pub use rules::{Violation, violations};
pub use survey::{CRATES, Survey, allowed, crates_out_of_order};
