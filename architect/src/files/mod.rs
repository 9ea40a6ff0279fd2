//! Files that the command writes: whole or not at all.

pub mod folder;
pub mod output;
pub mod text;
