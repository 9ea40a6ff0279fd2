//! The Architect's laboratory: scenarios, experiments, what is concluded from them, campaigns, and the command.
//!
//! The data flows one way:
//!
//! ```text
//! cli -> scenario -> experiment (a machine of `vmm`, watched at its doorbells) -> trace, analysis, beats, faults
//!     -> verdict -> report, campaign
//! ```

pub mod analysis;
pub mod beats;
pub mod bench;
pub mod campaign;
pub mod cli;
pub mod error;
pub mod experiment;
pub mod faults;
pub mod files;
pub mod guest;
pub mod inspect;
pub mod report;
pub mod scenario;
pub mod terms;
pub mod trace;
pub mod verdict;

pub use error::Error;
