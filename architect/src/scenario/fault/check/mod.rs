//! From keys to a fault: what makes sense together, and what does not and why.

mod limits;
mod place;
mod sense;
mod values;
mod what;
mod when;
