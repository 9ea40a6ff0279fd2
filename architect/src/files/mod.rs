//! Output of the command: files that are written completely or not at all, the run's folder, wrapped text.
//!
//! Owns the rules by which files appear and disappear; knows nothing of what is in them. Uses only the
//! errors; called by every module that writes files.

pub mod folder;
pub mod output;
pub mod text;
