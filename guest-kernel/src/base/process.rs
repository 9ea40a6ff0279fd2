//! What the kernel keeps of a process, and which slots of the process table are free.

use abi::Frame;
use abi::Pid;
use abi::process::{Context, Descriptor, PROCESS_SLOTS};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::index::{LoanIndex, PortIndex, Slot};
use super::queue::{Links, Queue};

/// Priorities: 0 is the most urgent.
pub const PRIORITIES: usize = 8;

/// A chain of frames that belong to one process, in the order in which they were given. Empty when `first` is
/// 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Chain {
    /// First frame.
    pub first: u32,
    /// Last frame.
    pub last: u32,
}

/// A process as the kernel sees it: the part that the host reads, then the kernel's own. The order of the fields
/// decides what a stray write hits, so it is part of what makes runs repeatable.
///
/// | fields | changed by |
/// |---|---|
/// | `lifted`, `queued`, `burst_from`, `lent` | [`crate::sched`] |
/// | `pending`, `windows`, `directory`, the frames, `spare` | [`crate::mem`] |
/// | `port`, `loan`, `serves`, `transfer` | [`crate::ipc`] |
/// | `children`, `zombies`, `status`, `data`, `phone`, `signals` | [`crate::proc`] |
/// | `heap` | [`crate::syscall`], [`crate::compat`] |
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Process {
    /// What the host may read.
    pub(crate) d: Descriptor,
    /// Levels by which it was lifted for its age, until it has had the CPU.
    pub(crate) lifted: u16,
    /// The ready queue that it is in, plus one; 0 if it is in none.
    pub(crate) queued: u16,
    /// The port that it waits at.
    pub(crate) port: PortIndex,
    /// The loan that its present call makes.
    pub(crate) loan: LoanIndex,
    /// First ended loan whose window it still has.
    pub(crate) pending: LoanIndex,
    /// Window slots in use.
    pub(crate) windows: u64,
    /// Frame of its page directory.
    pub(crate) directory: u32,
    frames_first: u32,
    frames_last: u32,
    /// Spare page for writes that come after their window is gone; 0 until needed.
    pub(crate) spare: u32,
    /// Pages of heap.
    pub(crate) heap: u32,
    /// 1 if it has ever bound a port.
    pub(crate) serves: u32,
    /// Children alive or dead, not yet asked for.
    pub(crate) children: u32,
    /// Dead children.
    pub(crate) zombies: Queue,
    /// What it ended with.
    pub(crate) status: u64,
    /// Kernel entries it had made when its present burst began.
    pub(crate) burst_from: u64,
    /// Processes that wait for it, counted by the priority that they lend it.
    pub(crate) lent: [u8; PRIORITIES],
    /// Pages of data.
    pub(crate) data: u32,
    /// Its phone calls.
    pub(crate) phone: Phone,
    /// Its signals.
    pub(crate) signals: Signals,
    /// The transfer that it has asked for.
    pub(crate) transfer: Transfer,
}

/// A process's phone.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Phone {
    /// Frame of the kernel stack; 0 until the first call.
    pub(crate) stack: u32,
    /// 1 during a call.
    pub(crate) active: u32,
    /// The function that was called; for the trace.
    pub(crate) function: u32,
}

/// What a process does on a signal.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Signals {
    /// The handler; 0 for none.
    pub(crate) handler: u64,
    /// One past the return stack's highest byte.
    pub(crate) top: u64,
    /// Whether a signal is being handled.
    pub(crate) handling: u32,
    /// The signal that waits; 0 for none.
    pub(crate) pending: u32,
    /// The registers with which it goes on when the handler has returned.
    pub(crate) saved: Context,
    /// The transfer that it was about to ask for again; what the handler asks for is another.
    pub(crate) saved_transfer: Transfer,
}

impl Signals {
    /// The return stack's top while nothing runs on it; 0 if there is none.
    pub(crate) fn idle_top(&self) -> u64 {
        if self.handling == 0 { self.top } else { 0 }
    }
}

/// A transfer that a process has asked for and that is not done yet.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Transfer {
    /// Its number, in the order in which they are asked for; 0 for none.
    pub number: u64,
    /// Tick at which it was asked for: its age counts from here, through all attempts.
    pub since: u64,
    /// Tick until which its process will wait; `u64::MAX` without limit.
    pub until: u64,
    /// Tick of the present attempt, while its process waits at the gateway.
    pub(crate) tried: u64,
}

impl Transfer {
    /// None.
    pub const NONE: Self = Self { number: 0, since: 0, until: 0, tried: 0 };
}

/// Slots of the process table: which are free, and the generation of each.
pub struct Slots {
    free: Queue,
    fresh: usize,
    generations: [u16; PROCESS_SLOTS],
}

impl Slots {
    /// All free; slot 0 is never used.
    pub const fn new() -> Self {
        Self { free: Queue::EMPTY, fresh: 1, generations: [0; PROCESS_SLOTS] }
    }

    /// One past the highest slot ever used.
    pub const fn limit(&self) -> usize {
        self.fresh
    }

    /// Takes a free slot.
    pub fn take(&mut self, links: &mut Links) -> Option<Pid> {
        let slot = match links.pop(&mut self.free) {
            Some(slot) => slot.index(),
            None if self.fresh < PROCESS_SLOTS => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return None,
        };
        Some(Pid::new(slot, self.generations[slot]))
    }

    /// Frees a slot; its old pid names no process from here on.
    pub fn put(&mut self, links: &mut Links, slot: Slot) {
        self.generations[slot.index()] = self.generations[slot.index()].wrapping_add(1);
        links.push(&mut self.free, slot);
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new()
    }
}

impl Process {
    pub(crate) fn root(&self) -> Frame {
        Frame(u64::from(self.d.root))
    }

    /// Whether it has an address space of its own: its faults are its own, whatever ring it is in.
    #[inline(always)]
    pub(crate) fn runs_a_program(&self) -> bool {
        self.directory != 0
    }

    pub(crate) fn frames(&self) -> Chain {
        Chain { first: self.frames_first, last: self.frames_last }
    }

    pub(crate) fn set_frames(&mut self, chain: Chain) {
        (self.frames_first, self.frames_last) = (chain.first, chain.last);
    }
}
