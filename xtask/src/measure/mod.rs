//! Measurements: what the command costs beside its floor, a campaign beside QEMU, the kernel's paths in
//! instructions.
//!
//! Each runs the built command or its image, prints a table or writes it into a document, and keeps nothing
//! else.

pub(crate) mod bench;
pub(crate) mod campaign_rate;
pub(crate) mod count_instructions;
