//! Processes as evidence.

use abi::Pid;
use serde_json::{Value, json};

use crate::trace::events::pid;

/// A process as evidence: its pid, and its label for the reader.
pub(super) fn evidence(of: Pid, label: Option<&str>) -> Value {
    json!({"pid": pid(of), "name": label})
}
