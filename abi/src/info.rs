//! The info block: the one structure from which an outside reader finds all others, and the doorbell that announces it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{GuestPhys, Pid};

/// Marks an info block: "MATRIXKI".
pub const INFO_MAGIC: u64 = u64::from_le_bytes(*b"MATRIXKI");
/// Version of everything in this crate; both sides refuse another's.
pub const VERSION: u32 = 1;

/// [`Info::quirks`]: SYSCALL from ring 3 arrived as a page fault at the entry point (see the guest's page-fault entry).
pub const QUIRK_SYSCALL_FAULTS: u32 = 1;

/// [`FromHost::features`]: somebody drains the trace and listens to doorbells.
pub const HOST_LISTENS: u32 = 1;
/// [`FromHost::features`]: the fill port works.
pub const HOST_FILLS: u32 = 2;

/// What a write to the doorbell port says: the reason in the low 8 bits; for [`Doorbell::Hello`] the guest-physical
/// address of the info block (page-aligned, below 4 GiB) in bits 12 and up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Doorbell {
    /// The kernel is up; its [`Info`] is at the address given with it.
    Hello = 1,
    /// Virtual time has moved on to [`Info::tick`].
    Tick = 2,
    /// The trace ring is full and wants draining.
    TraceFull = 3,
    /// The NMI handler has reached the verdict "critical" and is about to reset the machine.
    Critical = 4,
    /// The kernel has panicked and printed its state; it only keeps time from here on.
    Panic = 5,
}

impl Doorbell {
    /// Splits a doorbell value into reason and address; `None` for reasons that do not exist.
    pub fn parse(value: u32) -> Option<(Self, GuestPhys)> {
        let reason = match value & 0xff {
            1 => Self::Hello,
            2 => Self::Tick,
            3 => Self::TraceFull,
            4 => Self::Critical,
            5 => Self::Panic,
            _ => return None,
        };
        Some((reason, GuestPhys(u64::from(value & !0xfff))))
    }

    /// The value to write.
    pub const fn value(self, page: GuestPhys) -> u32 {
        page.0 as u32 & !0xfff | self as u32
    }
}

/// The first part of the info block's page; the guest writes it, the host reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Info {
    /// [`INFO_MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Peculiarities of the processor that the kernel met, `QUIRK_*`.
    pub quirks: u32,
    /// Virtual time.
    pub tick: u64,
    /// Kernel entries since boot.
    pub entries: u64,
    /// Root of the kernel's own address space.
    pub kernel_root: GuestPhys,
    /// Process table: `process_slots` frame numbers (u32).
    pub process_table: GuestPhys,
    /// Frame table: `frames` entries of [`crate::frame::FrameEntry`], from frame 0.
    pub frame_table: GuestPhys,
    /// Loan table: `loan_slots` entries of [`crate::loan::Loan`].
    pub loan_table: GuestPhys,
    /// Trace ring: `trace_slots` records of [`crate::trace::Record`].
    pub trace_ring: GuestPhys,
    /// Entries in the process table.
    pub process_slots: u32,
    /// Entries in the frame table.
    pub frames: u32,
    /// Entries in the loan table.
    pub loan_slots: u32,
    /// Records in the ring, a power of two.
    pub trace_slots: u32,
    /// Records ever written; the next one goes to this number modulo `trace_slots`.
    pub trace_head: u64,
    /// Frames that can be had without touching the quarantine.
    pub free_frames: u32,
    /// Frames in quarantine.
    pub quarantined: u32,
    /// Current epoch of deferred teardown.
    pub epoch: u32,
    /// Address spaces with windows still to be taken down.
    pub pending_spaces: u32,
    /// Processes alive, kernel processes included.
    pub alive: u32,
    /// Who has the CPU.
    pub current: Pid,
    /// Tick of the last pet.
    pub last_pet: u64,
    /// Ticks without a pet after which an NMI means the worst.
    pub watchdog_ticks: u64,
    /// Counters since boot.
    pub counters: Counters,
}

/// Counters since boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Counters {
    /// System calls.
    pub syscalls: u64,
    /// System calls that were refused.
    pub refusals: u64,
    /// Messages delivered, replies included.
    pub messages: u64,
    /// Loans opened.
    pub loans: u64,
    /// Calls that timed out.
    pub timeouts: u64,
    /// Switches decided by the scheduler.
    pub switches: u64,
    /// Direct hand-offs past the scheduler.
    pub handoffs: u64,
    /// Processes started.
    pub spawns: u64,
    /// Processes that ended by themselves with status 0.
    pub exits: u64,
    /// Processes that ended otherwise: a fault, or a status other than 0.
    pub crashes: u64,
    /// Times the watchdog was petted.
    pub pets: u64,
    /// Frames taken out of quarantine before their epoch had ended.
    pub early_reuses: u64,
}

/// The second part of the info block's page, at [`FROM_HOST`]: the host writes it, the guest reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FromHost {
    /// What the host offers, `HOST_*`. Zero where no Architect is listening.
    pub features: u32,
    /// Zero.
    pub reserved: u32,
    /// Records that the host has taken out of the ring.
    pub trace_tail: u64,
}

/// Offset of [`FromHost`] in the info block's page.
pub const FROM_HOST: u64 = 2048;

const _: () = assert!(size_of::<Info>() as u64 <= FROM_HOST);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doorbell_value_can_be_taken_apart() {
        let value = Doorbell::Hello.value(GuestPhys(0x12_3000));
        assert_eq!(Doorbell::parse(value), Some((Doorbell::Hello, GuestPhys(0x12_3000))));
        assert_eq!(Doorbell::parse(0), None);
        assert_eq!(Doorbell::parse(0xff), None);
    }
}
