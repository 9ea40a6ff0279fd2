//! Address spaces, by an id that the reader chooses.

use std::fmt;

use address::GuestPhys;

/// Identifies an address space. The reader chooses the number: a process id, or the address of its root or
/// descriptor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct SpaceId(pub u64);

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// An address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Its identity.
    pub id: SpaceId,
    /// The root of its page tables.
    pub root: GuestPhys,
}
