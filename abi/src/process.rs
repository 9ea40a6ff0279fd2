//! Process descriptors: each in a frame of its own, found through the process table.
//!
//! The descriptor starts with [`Descriptor`], which the VMM reads; the kernel keeps more behind it in the
//! same frame.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pid;

/// Slots in the process table. An entry is the descriptor's frame number (u32), or 0 for a free slot.
pub const PROCESS_SLOTS: usize = 256;

/// Marks a descriptor: "PROC".
pub const DESCRIPTOR_MAGIC: u32 = 0x434f_5250;

/// What a process is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Being built; not yet schedulable.
    Embryo = 0,
    /// Waiting for the CPU.
    Ready = 1,
    /// Has the CPU.
    Running = 2,
    /// Waiting for a time.
    Sleeping = 3,
    /// Waiting in a port's queue for a receiver.
    Sending = 4,
    /// Waiting for a message.
    Receiving = 5,
    /// Received by a server; waiting for the reply.
    AwaitingReply = 6,
    /// Waiting for a child to end.
    Waiting = 7,
    /// Ended; waiting for its parent to ask.
    Zombie = 8,
    /// Waiting at the gateway, for a buffer that its data can pass in.
    Gated = 9,
    /// Waiting for a datagram.
    Collecting = 10,
    /// The scheduler's process, waiting for the timer's interrupt.
    Attending = 11,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Embryo,
        Self::Ready,
        Self::Running,
        Self::Sleeping,
        Self::Sending,
        Self::Receiving,
        Self::AwaitingReply,
        Self::Waiting,
        Self::Zombie,
        Self::Gated,
        Self::Collecting,
        Self::Attending,
    ];

    /// The state with this number; `None` for numbers that no kernel writes.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(usize::from(raw)).copied()
    }

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embryo => "embryo",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Sending => "sending",
            Self::Receiving => "receiving",
            Self::AwaitingReply => "awaiting-reply",
            Self::Waiting => "waiting",
            Self::Zombie => "zombie",
            Self::Gated => "gated",
            Self::Collecting => "collecting",
            Self::Attending => "attending",
        }
    }
}

/// Saved registers, in the order in which the entry stubs push them; the processor itself pushes the last
/// five (Intel SDM vol. 3, 6.14.2). Its end must lie on a 16-byte boundary: the processor aligns the stack
/// before pushing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Context {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    /// Exception vector, or [`VECTOR_SYSCALL`].
    pub vector: u64,
    /// The exception's error code, or 0.
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// The [`Context::vector`] of a system call; no exception has this number.
pub const VECTOR_SYSCALL: u64 = 0x100;

/// What the VMM may read of a process.
///
/// The first words are in the order of how often the kernel reads them: its identity, its rights and urgency,
/// its memory, how it runs. They stand together, so that a check is one short access and a look at a process
/// one line of the cache, as kernels keep credentials in one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Descriptor {
    /// [`DESCRIPTOR_MAGIC`].
    pub magic: u32,
    /// Its pid.
    pub pid: Pid,
    /// User id; 0 is root.
    pub uid: u32,
    /// Scheduling priority; a smaller number runs first.
    pub priority: u8,
    /// The priority that it is scheduled by: its own, or one that it was lent.
    pub effective: u8,
    /// Place in the service table plus one; 0 for others.
    pub service: u16,
    /// Frame number of the root of its address space.
    pub root: u32,
    /// Keys (capabilities) granted to it, bits of [`crate::syscall::Keys`].
    pub keys: u32,
    /// Kernel entries that the scheduler expects its next burst to last, times 16.
    pub predicted: u32,
    /// Privilege ring it was started in: 0 for kernel processes, 3 for user processes. It runs in this ring,
    /// but for phone calls.
    pub ring: u8,
    /// Page of its program's image at which processes that it tags continue; for Agents.
    pub remedy: u8,
    /// 1 while a kill of it has begun that the scheduler is still to complete.
    pub doomed: u8,
    /// 1 if it was tagged as a violator.
    pub tagged: u8,
    /// Label for people, padded with zeros. Nothing is decided by it.
    pub name: [u8; 16],
    /// Index in the boot module; `u32::MAX` for kernel processes.
    pub program: u32,
    /// A [`State`] by number.
    pub state: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Virtual tick at which it was made.
    pub born: u64,
    /// Virtual tick at which it last entered the kernel.
    pub seen: u64,
    /// Kernel entries it has made: its CPU time, in the unit of the virtual clock.
    pub entries: u64,
    /// Tick since which it is in its present state; at the gateway, at which it first came there for its
    /// present call.
    pub since: u64,
    /// Ticks that it has spent waiting for others: for a receiver, a reply, a datagram, the gateway, the CPU.
    pub waited: u64,
    /// The process that it waits for; [`Pid::NONE`] if it waits for none in particular.
    pub peer: Pid,
    /// Its parent, which collects its exit status.
    pub parent: Pid,
    /// Bursts that it has run, from getting the CPU to waiting for something.
    pub bursts: u32,
    /// Sum over its bursts of what the prediction was wrong by, in kernel entries.
    pub misjudged: u32,
    /// Page faults that were mended.
    pub faults: u32,
    /// Messages sent and received, replies included.
    pub messages: u32,
    /// Frames given to it and not yet taken back, its descriptor not counted.
    pub frames: u32,
    /// Zero.
    pub unused: u32,
    /// The saved registers, valid while it does not run.
    pub context: Context,
}

const _: () = {
    assert!(size_of::<Descriptor>() == 128 + 176);
    assert!((core::mem::offset_of!(Descriptor, context) + size_of::<Context>()).is_multiple_of(16));
};

impl Descriptor {
    /// The label as text; what is not ASCII is shown as `?`.
    pub fn label(&self) -> impl Iterator<Item = char> + '_ {
        self.name
            .iter()
            .take_while(|b| **b != 0)
            .map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '?' })
    }
}
