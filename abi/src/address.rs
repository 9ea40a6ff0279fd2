//! Addresses and names that must never be mixed up, each a type of its own.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::PAGE_SIZE;

/// A guest-physical address, in bytes.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct GuestPhys(pub u64);

/// A guest-virtual address, in bytes; it means nothing without an address space.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct GuestVirt(pub u64);

/// The number of a 4 KiB guest-physical frame: its address divided by 4096.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Frame(pub u64);

/// A process id: the slot in the process table (low 16 bits) and the generation of that slot (high 16 bits), so
/// that the id of a dead process never names its successor. `Pid::NONE` names nobody.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Pid(pub u32);

impl GuestPhys {
    /// The frame that holds this address.
    #[inline]
    pub const fn frame(self) -> Frame {
        Frame(self.0 / PAGE_SIZE)
    }

    /// The address `bytes` further on; saturates, so that a hostile sum cannot wrap into low memory.
    #[must_use]
    pub const fn add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}

impl GuestVirt {
    /// The address `bytes` further on; saturates.
    #[must_use]
    pub const fn add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// The start of the page that holds this address.
    #[must_use]
    pub const fn page(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }

    /// Whether the address is in the half that belongs to processes.
    pub const fn is_user(self) -> bool {
        self.0 < 1 << 47
    }
}

impl Frame {
    /// The address of the frame's first byte.
    #[inline]
    pub const fn base(self) -> GuestPhys {
        GuestPhys(self.0 * PAGE_SIZE)
    }
}

impl Pid {
    /// Nobody: the kernel itself, or an empty field.
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

impl fmt::Debug for GuestPhys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phys {:#x}", self.0)
    }
}

impl fmt::Debug for GuestVirt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virt {:#x}", self.0)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {:#x}", self.0)
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for GuestPhys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for GuestVirt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
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

    #[test]
    fn sums_of_addresses_saturate() {
        assert_eq!(GuestPhys(u64::MAX - 1).add(10), GuestPhys(u64::MAX));
        assert_eq!(GuestVirt(u64::MAX - 1).add(10), GuestVirt(u64::MAX));
    }
}
