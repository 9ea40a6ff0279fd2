//! A guest's memory, built by hand: frames are allocated in rising order, page tables as they are needed.

use abi::frame::{FrameEntry, FrameKind};
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::x86::paging::bits::{ADDRESS, PRESENT, USER, WRITE};
use zerocopy::{Immutable, IntoBytes};

pub(crate) use introspect::x86::paging::bits::{LARGE, NO_EXECUTE};

/// Leaf flags: readable, writable and no-execute, or only readable, for ring 3.
pub(crate) const RW: u64 = PRESENT | USER | WRITE | NO_EXECUTE;
pub(crate) const RO: u64 = PRESENT | USER | NO_EXECUTE;
pub(crate) const RX: u64 = PRESENT | USER;
pub(crate) const RWX: u64 = PRESENT | USER | WRITE;
/// The rights of entries that lead to tables.
const TABLE: u64 = PRESENT | USER | WRITE;

pub(crate) struct Machine {
    pub(crate) memory: Vec<u8>,
    /// The frame table, updated at each allocation.
    pub(crate) frames: Vec<FrameEntry>,
    next: u64,
}

impl Machine {
    /// Creates a memory of `frames` frames. Frame 0 is the kernel's, so that no root is 0.
    pub(crate) fn new(frames: usize) -> Self {
        let unused = FrameEntry { kind: FrameKind::Unused as u8, ..FrameEntry::default() };
        let mut machine = Self { memory: vec![0; frames * 4096], frames: vec![unused; frames], next: 0 };
        machine.frame(FrameKind::Kernel, Pid::NONE);
        machine
    }

    /// Allocates a frame.
    pub(crate) fn frame(&mut self, kind: FrameKind, owner: Pid) -> Frame {
        let frame = Frame(self.next);
        self.next += 1;
        assert!(frame.0 < self.frames.len() as u64, "the machine's memory is too small for this test");
        self.set_fact(frame, kind, owner);
        frame
    }

    pub(crate) fn set_fact(&mut self, frame: Frame, kind: FrameKind, owner: Pid) {
        self.frames[frame.0 as usize] = FrameEntry { kind: kind as u8, owner, ..FrameEntry::default() };
    }

    pub(crate) fn put<T: IntoBytes + Immutable + ?Sized>(&mut self, at: GuestPhys, value: &T) {
        let bytes = value.as_bytes();
        self.memory[at.0 as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn get(&self, at: GuestPhys) -> u64 {
        u64::from_le_bytes(self.memory[at.0 as usize..][..8].try_into().unwrap())
    }

    /// Creates an empty address space.
    pub(crate) fn root(&mut self, owner: Pid) -> GuestPhys {
        self.frame(FrameKind::PageTable, owner).base()
    }

    /// Returns the address of the entry of level `level` for `virt`; creates the tables above it.
    pub(crate) fn entry(&mut self, root: GuestPhys, virt: u64, level: u32) -> GuestPhys {
        let mut table = root;
        for above in (level + 1..=4).rev() {
            let entry = table.add((virt >> (12 + 9 * (above - 1)) & 511) * 8);
            if self.get(entry) == 0 {
                let owner = self.frames[root.frame().0 as usize].owner;
                let new = self.frame(FrameKind::PageTable, owner).base();
                self.put(entry, &(new.0 | TABLE));
            }
            table = GuestPhys(self.get(entry) & ADDRESS);
        }
        table.add((virt >> (12 + 9 * (level - 1)) & 511) * 8)
    }

    /// Maps a 4 KiB page; returns the address of the leaf entry.
    pub(crate) fn map(&mut self, root: GuestPhys, virt: GuestVirt, frame: Frame, flags: u64) -> GuestPhys {
        let entry = self.entry(root, virt.0, 1);
        self.put(entry, &(frame.base().0 | flags));
        entry
    }
}
