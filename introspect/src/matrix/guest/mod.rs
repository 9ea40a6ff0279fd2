//! What a guest publishes about itself, read from outside: the info block, and through it the processes, the
//! frame table, the loan table, the flows of messages, the queue at the gateway, and the services. Audits get
//! their address spaces here. Uses [`crate::x86`] and `abi`.
//!
//! A guest may be broken in any way, so everything that can be checked is. If the tables cannot be found
//! there is a [`ReadError`]; a single bad entry is reported as a [`Problem`] and left out.

mod tables;
mod update;

pub use tables::{
    Guest, MOST_FLOWS, MOST_FRAMES, MOST_GATES, MOST_LOANS, MOST_PROCESSES, MOST_SERVICES, Problem, Process,
    ReadError,
};
pub use update::News;
