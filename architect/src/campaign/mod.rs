//! Campaigns: one scenario, many runs, one row per run.
//!
//! A [`plan`] says which runs there are; [`workers`] make each of them from the [`subject`], on as many threads as wanted;
//! each gives a [`row`], which the [`store`] keeps in a transaction of its own. [`stats`] reads rows. Uses experiments and
//! their verdicts; called by the commands `campaign`, `hunt`, `stats`, `replay`, `minimise`, and by `bench`.

pub mod ddmin;
pub mod golden;
pub mod identity;
pub mod plan;
pub mod precision;
pub mod recorded;
pub mod row;
pub mod runner;
pub mod shard;
pub mod stats;
pub mod store;
pub mod subject;
#[cfg(test)]
pub(crate) mod testing;
pub mod workers;
