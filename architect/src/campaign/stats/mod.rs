//! The summary of a campaign: rates with intervals, and in a sweep the effect of each factor.
//!
//! [`tally`] counts rows, [`interval`] and [`effects`] do the statistics, [`Stats`] is the summary, and text, JSON and CSV
//! are its renderers. Reads rows and the campaign's cells; called by `architect stats` and by [`super::precision`].

mod csv;
mod document;
pub mod effects;
pub mod interval;
mod summary;
pub mod tally;
#[cfg(test)]
mod tests;
mod text;

pub use csv::rows as rows_csv;
pub use summary::Stats;
