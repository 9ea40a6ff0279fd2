//! What a subject answers.

use serde_json::Value;

/// The answer of a subject.
pub(super) struct Answer {
    /// For people.
    pub(super) text: String,
    /// An object.
    pub(super) json: Value,
}
