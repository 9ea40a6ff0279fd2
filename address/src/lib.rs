//! Addresses of an x86-64 guest, each kind a type of its own: guest-physical, guest-virtual, and frame
//! numbers.
//!
//! Host addresses are plain pointers of the host and never of these types.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes in a page and in a frame.
pub const PAGE_SIZE: u64 = 4096;

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

impl GuestPhys {
    /// Returns the frame that holds this address.
    #[inline]
    pub const fn frame(self) -> Frame {
        Frame(self.0 / PAGE_SIZE)
    }

    /// Returns the address `bytes` further on; saturates, so that a hostile sum cannot wrap into low memory.
    #[must_use]
    pub const fn add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}

impl GuestVirt {
    /// Returns the address `bytes` further on; saturates.
    #[must_use]
    pub const fn add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Returns the start of the page that holds this address.
    #[must_use]
    pub const fn page(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }

    /// Returns whether the address is in the lower half, which belongs to processes (47 bits, four levels).
    pub const fn is_user(self) -> bool {
        self.0 < 1 << 47
    }
}

impl Frame {
    /// Returns the address of the frame's first byte.
    #[inline]
    pub const fn base(self) -> GuestPhys {
        GuestPhys(self.0 * PAGE_SIZE)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_addresses_saturate() {
        assert_eq!(GuestPhys(u64::MAX - 1).add(10), GuestPhys(u64::MAX));
        assert_eq!(GuestVirt(u64::MAX - 1).add(10), GuestVirt(u64::MAX));
    }
}
