//! Campaigns over many seeds: on which loads, with which fixes and labels, and in how many shards.
//!
//! `sweep`, `beats` and `fixes` each decide which campaigns are made, have `shards` make them, and have
//! [`crate::rates`] show the results. All go on where they were interrupted and make no run twice.

pub(crate) mod beats;
pub(crate) mod fixes;
mod labels;
pub(crate) mod shards;
pub(crate) mod sweep;
