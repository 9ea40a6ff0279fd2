//! The sharing policy: which mappings of a frame are in order, and the kinds of violation.
//!
//! There are two sets of rules, each a module: [`Preset::Strict`] ([`strict`]) asks the guest's own frame
//! table and loan table for every mapping; [`Preset::PageTableCheck`] ([`page_table_check`]) are the rules of
//! Linux, which counts. A check goes once over the reverse map, frame by frame, and reuses its memory. Uses
//! the reverse map and the guest's tables; audits call it.
//!
//! Only `strict` also looks at the frames behind the kernel's own [`objects`].

mod again;
mod check;
mod covers;
pub mod finding;
pub mod objects;
pub mod page_table_check;
mod preset;
mod report;
pub mod strict;

pub use check::{Policy, check};
pub use finding::{Fact, Finding, Party, Standing, What};
pub use objects::{Object, Role};
pub use preset::{Preset, UnknownPreset};
