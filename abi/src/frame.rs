//! The frame table: one entry for each guest-physical frame, its use and its owner.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pid;

/// What a frame is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// Never handed out since boot.
    Unused = 0,
    /// On the free list.
    Free = 1,
    /// Freed, but held back until no dead window can reach it.
    Quarantined = 2,
    /// The kernel's image and tables, firmware areas.
    Kernel = 3,
    /// Program text and read-only data of the boot module: any process may map it read-only.
    Program = 4,
    /// A page table of any level.
    PageTable = 5,
    /// A process descriptor.
    Descriptor = 6,
    /// The stack of a kernel process.
    KernelStack = 7,
    /// Private memory of a user process.
    User = 8,
    /// Buffers of messages in flight.
    Buffer = 9,
    /// The grant log of the privilege subsystem.
    Keys = 10,
    /// A page of state that a process shares with the kernel: only its owner maps it.
    Shared = 11,
}

impl FrameKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Unused,
        Self::Free,
        Self::Quarantined,
        Self::Kernel,
        Self::Program,
        Self::PageTable,
        Self::Descriptor,
        Self::KernelStack,
        Self::User,
        Self::Buffer,
        Self::Keys,
        Self::Shared,
    ];

    /// The kind with this number; `None` for numbers that no kernel writes.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(usize::from(raw)).copied()
    }

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Free => "free",
            Self::Quarantined => "quarantined",
            Self::Kernel => "kernel",
            Self::Program => "program",
            Self::PageTable => "page-table",
            Self::Descriptor => "descriptor",
            Self::KernelStack => "kernel-stack",
            Self::User => "user",
            Self::Buffer => "buffer",
            Self::Keys => "keys",
            Self::Shared => "shared",
        }
    }

    /// Whether the frame holds the kernel's own state, which ring 3 must never reach.
    pub const fn is_kernel(self) -> bool {
        matches!(
            self,
            Self::Kernel | Self::PageTable | Self::Descriptor | Self::KernelStack | Self::Buffer | Self::Keys
        )
    }
}

/// One frame's entry, 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FrameEntry {
    /// The process that the frame was given to; [`Pid::NONE`] for the kernel's own and for unowned frames.
    pub owner: Pid,
    /// The next frame of the list that this one is on (free list, quarantine); 0 ends a list.
    pub next: u32,
    /// The epoch in which it was freed, while in quarantine.
    pub epoch: u32,
    /// A [`FrameKind`] by number.
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<FrameEntry>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_keep_their_numbers() {
        for (number, kind) in FrameKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert_eq!(FrameKind::from_raw(number as u8), Some(kind));
        }
        assert_eq!(FrameKind::from_raw(12), None);
    }
}
