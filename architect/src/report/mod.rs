//! A run told to people: the summary and the post-mortem.

pub mod postmortem;
pub mod summary;
