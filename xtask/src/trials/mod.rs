//! Checks that are too long or need too much for the test suite: many seeds, the fuzzer, the page walks of
//! other projects.
//!
//! Each builds what it checks, and its exit status is 1 where something is wrong.

pub(crate) mod differential;
pub(crate) mod fuzz;
pub(crate) mod seeds;
