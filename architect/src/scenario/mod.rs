//! Scenarios: what to run, read from TOML and checked once, with the place of every mistake.
//!
//! Owns the keys ([`sections`], [`fault`]), their ranges, defaults and reference page, and the guest's command line that
//! follows from them. Knows no machine and no run. Called by the commands; everything that runs a guest reads its
//! settings from a [`Scenario`].

mod boot;
mod by_name;
mod cells;
mod check;
mod declare;
mod document;
pub mod fault;
#[cfg(test)]
mod mistakes;
pub mod reference;
mod sections;
mod set;
pub mod shipped;
mod source;
mod suggest;
mod sweep;
#[cfg(test)]
mod tests;

pub use cells::Cell;
pub use document::Scenario;
pub use sections::{
    AuditKeys, Clock, Expect, Fixes, Load, MonitorKeys, Program, Start, VmKeys, WatchdogKeys,
};
pub use source::wrong_in;
pub use sweep::Sweep;
