//! What is concluded from a guest while it runs: its tables read from outside, wrong sharings held against the
//! ledger, hidden address spaces, tags of the Agents.

pub mod detection;
pub mod hidden;
pub mod ledger;
pub mod observer;
pub mod subsystems;
pub mod tags;
