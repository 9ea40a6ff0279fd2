//! Faults: what is broken on purpose, where, and when.
//!
//! A scenario says it in `[[fault]]` ([`keys`]); [`language`] is what that means once it makes sense; what was left open is
//! drawn from the seed ([`draw`]). In a life of the guest the [`injector`] waits for the moments, looks for the places
//! ([`target`]) in what the guest is just then, and gives [`deed`]s, which the vCPU loop's owner applies: nothing here
//! touches the guest. Every deed is an event. The language for people: `docs/reference/faults.md`.
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
