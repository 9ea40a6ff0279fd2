//! Indices into the kernel's tables, each a type of its own so that they cannot be mixed up.

use abi::Pid;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A slot of the process table. Slot 0 never has a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Slot(usize);

impl Slot {
    /// No slot.
    pub const NONE: Self = Self(0);

    /// The slot with this index.
    #[inline(always)]
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// The slot that a pid names.
    #[inline(always)]
    pub const fn of(pid: Pid) -> Self {
        Self(pid.slot())
    }

    /// Its index in tables of processes.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0
    }

    /// Whether it is no slot.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// A place in the port table, as a process remembers it: any number may stand in a descriptor.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct PortIndex(u32);

impl PortIndex {
    /// The place with this index.
    #[inline(always)]
    pub const fn new(index: usize) -> Self {
        Self(index as u32)
    }

    /// Its index in the port table.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A place in the loan table, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct LoanIndex(u32);

impl LoanIndex {
    /// No loan.
    pub const NONE: Self = Self(0);

    /// The place with this index.
    #[inline(always)]
    pub const fn new(index: usize) -> Self {
        Self(index as u32 + 1)
    }

    /// The form in which descriptors and the loan table link loans: the index plus one, 0 for none.
    #[inline(always)]
    pub const fn link(self) -> u32 {
        self.0
    }

    /// From a link.
    #[inline(always)]
    pub const fn from_link(link: u32) -> Self {
        Self(link)
    }

    /// Whether it is no loan.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Its index in the loan table. Panics for none.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }
}
