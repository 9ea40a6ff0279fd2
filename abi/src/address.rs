//! Process ids, and the address types of the crate `address`.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use address::{Frame, GuestPhys, GuestVirt};

/// A process id: the slot in the process table (low 16 bits) and the generation of that slot (high 16 bits),
/// so that the id of a dead process never names its successor. `Pid::NONE` names no process.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Pid(pub u32);

impl Pid {
    /// No process: the kernel itself, or an empty field.
    pub const NONE: Self = Self(0);

    /// The id of generation `generation` of slot `slot`.
    pub const fn new(slot: usize, generation: u16) -> Self {
        Self((generation as u32) << 16 | (slot as u32 & 0xffff))
    }

    /// The place in the process table.
    pub const fn slot(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    /// How often the slot had been used before.
    pub const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `slot.generation`, the way people read it.
impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_keeps_slot_and_generation_apart() {
        let pid = Pid::new(7, 3);
        assert_eq!((pid.slot(), pid.generation()), (7, 3));
        assert_ne!(pid, Pid::new(7, 4));
    }
}
