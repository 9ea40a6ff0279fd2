//! Rates over many runs: the rows of campaigns, tables and pictures of them, and documents that show these.
//!
//! Reads the files that a campaign in shards leaves ([`Campaign::read`]); touches no machine. The tasks in
//! `campaigns` decide which campaigns are made, and call this to show the results.

mod campaign;
mod csv;
mod exactness;
pub(crate) mod fill;
pub(crate) mod pictures;
mod rate;
pub(crate) mod tables;

pub(crate) use campaign::Campaign;
pub(crate) use exactness::exactness;
pub(crate) use rate::percent;
