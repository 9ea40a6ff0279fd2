//! A campaign's rows on disk: one SQLite file per campaign or shard.
//!
//! [`database`] writes and reads one file, [`merge`] puts the files of all shards together, `columns` says how a row
//! becomes columns. Knows rows and the campaign's identity, and nothing of how runs are made.

pub(crate) mod columns;
mod database;
mod error;
mod facts;
mod merge;
#[cfg(test)]
mod tests;

pub use database::Database;
pub use merge::Table;
