//! Tests of the public interface on hand-made and random guests of a few hundred KiB.
#![forbid(unsafe_code)]

mod dump;
mod follow;
mod machine;
mod policy_by_hand;
mod policy_model;
mod policy_presets;
mod policy_properties;
mod recheck;
mod reverse;
mod roots;
mod space;
mod symbols;
mod walk_by_hand;
mod walk_properties;
