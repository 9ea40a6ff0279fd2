//! Terms that all layers share: the names of beats, how runs and incarnations end. Plain values without behaviour; uses
//! nothing else of the crate.

mod beat;
mod outcome;

pub use beat::Beat;
pub use outcome::{IncarnationEnd, Outcome, ResetCause};
