//! What all checks share.

use crate::scenario::fault::model::Mistake;

/// A part of a fault, or what is wrong with its keys.
pub(super) type Checked<T> = Result<T, Mistake>;

/// Longest time and largest count of a fault.
pub(super) const MOST: u64 = u32::MAX as u64;
