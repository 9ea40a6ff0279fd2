//! The Architect: a KVM virtual machine monitor that boots a kernel, watches it, and survives its collapse.
//!
//! The way of a run, one direction only:
//!
//! ```text
//! cli -> loader, pvh -> machine -> vcpu loop -> exit -> devices -> action -> event -> the command (boot, run)
//!                        kvm, memory, cpu        ^
//!                                                wall: real time, signals, keys
//! ```
//!
//! Only [`kvm`] talks to `/dev/kvm`; `unsafe` stands there and in [`memory`].

mod alarms;
pub mod beats;
pub mod bench;
pub mod boot;
pub mod campaign;
pub mod cli;
pub mod cpu;
pub mod detection;
pub mod doctor;
pub mod dump;
pub mod error;
pub mod events;
pub mod exit;
pub mod experiment;
pub mod faults;
pub mod folder;
pub mod hidden;
pub mod host;
pub mod host_error;
pub mod image_error;
pub mod inspect;
pub mod kvm;
pub mod ledger;
pub mod loader;
pub mod machine;
pub mod memory;
pub mod monitor;
pub mod observer;
pub mod output;
pub mod places;
pub mod postmortem;
pub mod programs;
pub mod pvh;
pub mod run;
pub mod scenario;
pub mod snapshot;
pub mod subsystems;
pub mod summary;
mod tables;
pub mod tags;
pub mod tiny;
pub mod trace_hash;
pub mod vcpu;
pub mod verdict;
pub mod wall;

pub use error::{Error, VmmError};
