//! The info block: the one structure from which an outside reader finds all others, and the doorbell that
//! announces it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{GuestPhys, Pid};

/// Marks an info block: "MATRIXKI".
pub const INFO_MAGIC: u64 = u64::from_le_bytes(*b"MATRIXKI");
/// Version of everything in this crate; both sides refuse another's.
pub const VERSION: u32 = 2;

/// [`Info::quirks`]: SYSCALL from ring 3 arrived as a page fault at the entry point (see the guest's
/// page-fault entry).
pub const QUIRK_SYSCALL_FAULTS: u32 = 1;

/// [`FromHost::features`]: a host drains the trace and listens to doorbells.
pub const HOST_LISTENS: u32 = 1;
/// [`FromHost::features`]: the fill port works.
pub const HOST_FILLS: u32 = 2;

/// What a write to the doorbell port says: the reason in the low 8 bits; for [`Doorbell::Hello`] the
/// guest-physical address of the info block (page-aligned, below 4 GiB) in bits 12 and up.
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
    /// The process that has the CPU.
    pub current: Pid,
    /// Tick of the last pet.
    pub last_pet: u64,
    /// Ticks without a pet after which an NMI means the worst.
    pub watchdog_ticks: u64,
    /// Flow table: `flow_slots` entries of [`crate::flow::Flow`].
    pub flow_table: GuestPhys,
    /// Gateway: `gate_slots` entries of [`crate::flow::Gate`], the occupied ones first, in their order.
    pub gate_table: GuestPhys,
    /// Service table: `service_slots` entries of [`crate::service::Service`].
    pub service_table: GuestPhys,
    /// Grant log: [`crate::syscall::Grant`]s in a frame of kind `keys`; zero until there is one.
    pub grant_log: GuestPhys,
    /// Entries in the flow table.
    pub flow_slots: u32,
    /// Entries in the gateway's table.
    pub gate_slots: u32,
    /// Processes that wait at the gateway now.
    pub gate_waiting: u32,
    /// Entries in the service table.
    pub service_slots: u32,
    /// Buffers of messages in use.
    pub buffers_used: u32,
    /// Buffers that can be had at most.
    pub buffers_limit: u32,
    /// Commands of the host that were carried out or refused.
    pub commands_taken: u64,
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
    /// Processes that ended otherwise: a fault, a status other than 0, or killed by another process. Not
    /// those that were tagged or that the host had ended: they say nothing against the system.
    pub crashes: u64,
    /// Times the watchdog was petted.
    pub pets: u64,
    /// Frames taken out of quarantine before their epoch had ended.
    pub early_reuses: u64,
    /// Bursts that processes have run.
    pub bursts: u64,
    /// Sum over all bursts of what the prediction was wrong by, in kernel entries.
    pub misjudged: u64,
    /// Timer interrupts that the scheduler has acknowledged.
    pub acknowledged: u64,
    /// Timer interrupts that came while the last one was not yet acknowledged.
    pub missed: u64,
    /// Page faults that were mended by giving a frame.
    pub faults: u64,
    /// Times that free frames fell below the low-water mark.
    pub low_water: u64,
    /// Processes ended for their memory.
    pub out_of_memory: u64,
    /// Transfers through the gateway.
    pub transfers: u64,
    /// Bytes that went through it.
    pub transferred: u64,
    /// Transfers that had to wait.
    pub gated: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Datagrams collected with a wrong checksum.
    pub damaged: u64,
    /// Signals delivered.
    pub signals: u64,
    /// Phone calls.
    pub phones: u64,
    /// System calls of ABI version 1.
    pub calls_v1: u64,
    /// System calls of ABI version 2.
    pub calls_v2: u64,
    /// System calls and messages that the Agents' kernel half has tapped.
    pub taps: u64,
    /// Processes tagged as violators.
    pub tagged: u64,
    /// Keys granted.
    pub granted: u64,
    /// Requests for keys that were refused.
    pub withheld: u64,
    /// Services started again.
    pub restarts: u64,
    /// Reads of another process's memory by root.
    pub examined: u64,
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
    /// Commands ever given; command n is at `commands[n % COMMAND_SLOTS]`. The guest takes them at its next
    /// tick, and says in [`Info::commands_taken`] how far it has come: the host gives no more than fit in
    /// between.
    pub commands_given: u64,
    /// The commands.
    pub commands: [Command; COMMAND_SLOTS],
}

/// Commands that can wait to be taken.
pub const COMMAND_SLOTS: usize = 16;

/// [`Command::what`]: ends a process of ring 3.
pub const COMMAND_KILL: u32 = 1;
/// [`Command::what`]: starts a service again that has ended.
pub const COMMAND_RESTART: u32 = 2;
/// [`Command::what`]: the given number of the timer's next interrupts is lost, as if the line were cut.
pub const COMMAND_LOSE_INTERRUPTS: u32 = 3;
/// [`Command::what`]: the timer's interrupt comes once more, half-way to the next tick.
pub const COMMAND_RAISE_INTERRUPT: u32 = 4;
/// [`Command::what`]: the given number of free frames is withheld from use.
pub const COMMAND_WITHHOLD: u32 = 5;
/// [`Command::what`]: the given number of withheld frames is returned.
pub const COMMAND_GIVE_BACK: u32 = 6;
/// [`Command::what`]: the given number of next datagrams is lost on the way, without an error for their
/// senders.
pub const COMMAND_DROP_DATAGRAMS: u32 = 7;
/// [`Command::what`]: the given number of next datagrams arrives twice, as far as there is room.
pub const COMMAND_DOUBLE_DATAGRAMS: u32 = 8;
/// [`Command::what`]: the next datagram arrives the given number of ticks late.
pub const COMMAND_DELAY_DATAGRAM: u32 = 9;

/// A request of the host for the next tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Command {
    /// `COMMAND_*`.
    pub what: u32,
    /// The pid to kill, the place in the service table, or how many.
    pub subject: u32,
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
