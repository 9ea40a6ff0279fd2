//! The watchers of a run: everything that sees its records and audits, and changes nothing in the guest.
//!
//! Owns the event stream, the ledger, the beats, the tags, the history, the tally, and the injector's view of
//! events. [`Watchers::record`] hands each record to each of them once; [`Watchers::audit`] does the same
//! with an audit. Called by `run` only.

mod audit;
mod findings;
mod watchers;

pub(super) use watchers::Watchers;
