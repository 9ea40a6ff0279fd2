//! Faults: what is broken on purpose, where, and when.
//!
//! A scenario declares faults in `[[fault]]` tables ([`crate::scenario::fault`]); what a table leaves open is drawn from
//! the seed. During a run the [`injector`] waits for each fault's moment, resolves its [`target`] in the guest's present
//! state, and returns [`deed`]s, which the owner of the vCPU loop applies: nothing here touches the guest. Every deed is
//! an event. `docs/faults.md` describes the tables.
//!
//! That a fault names a process is no puppet's string: the user's label picks a target, from outside, and neither the
//! guest's kernel nor the monitor ever learns of it.

pub mod code;
pub mod deed;
pub mod digest;
pub mod injector;
pub mod outcome;
pub mod reset;
pub mod residue;
pub mod target;
pub mod unread;
