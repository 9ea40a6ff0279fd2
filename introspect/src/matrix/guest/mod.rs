//! What a guest publishes about itself, read from outside: the info block, and from it the processes, the frame table
//! and the loan table; then who talks to whom, who waits at the gateway, and the services. The address spaces to audit
//! come from here.
//!
//! A guest may be broken in any way, so nothing is believed without a check that can be made. Where the tables cannot
//! be found at all there is a [`ReadError`]; a single bad entry is reported as a [`Problem`] and left out.

mod tables;
mod update;

pub use tables::{
    Guest, MOST_FLOWS, MOST_FRAMES, MOST_GATES, MOST_LOANS, MOST_PROCESSES, MOST_SERVICES, Problem, Process,
    ReadError,
};
pub use update::News;
