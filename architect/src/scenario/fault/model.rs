//! The language: when, where and what, once the keys make sense together.

use abi::Pid;
use abi::frame::FrameKind;
use abi::trace::Kind;

use super::fields::{Field, Register};
use crate::terms::Beat;

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The moment.
    pub when: When,
    /// The place.
    pub place: Place,
    /// The effect.
    pub what: What,
    /// Seed of what is chosen when it acts.
    pub draw: u64,
}

/// The moment. But for code, a fault acts at the first tick's doorbell at which its moment has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// At this tick.
    Tick(u64),
    /// After the `nth` event of this kind.
    Event {
        /// The kind.
        kind: Kind,
        /// From 1.
        nth: u64,
        /// Of this process.
        process: Option<Who>,
    },
    /// When the `nth` time comes that an instruction is about to be executed.
    Code {
        /// Which.
        at: Code,
        /// From 1.
        nth: u64,
    },
    /// When the `nth` time is seen that what is in this place is not what it was at the tick before.
    Changed {
        /// The place.
        place: Place,
        /// From 1.
        nth: u64,
    },
    /// When this beat is reached.
    Beat(Beat),
}

/// An instruction of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// The first of a function of the kernel.
    Symbol(String),
    /// The first of a line of the kernel's source.
    Line {
        /// The end of the file's path.
        file: String,
        /// From 1.
        line: u32,
    },
    /// At this address of the kernel.
    Address(u64),
}

/// Whom a fault is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// One with this label: the name of its program.
    Label(String),
    /// This one.
    Pid(Pid),
    /// The process of the service at this place of the service table.
    Service(u32),
    /// One that runs in ring 3.
    Any,
}

/// The place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The machine as a whole.
    Machine,
    /// A register as saved of a process, or, without one, the processor's own.
    Register {
        /// Which.
        register: Register,
        /// Whose.
        process: Option<Who>,
    },
    /// The word at this guest-physical address.
    Physical(u64),
    /// A word of a frame of this kind.
    Frame(FrameKind),
    /// A word of a process's memory.
    Virtual {
        /// Whose.
        process: Who,
        /// Its address; `None` for any that is mapped.
        address: Option<u64>,
    },
    /// An entry of a process's page tables.
    PageTable {
        /// Whose.
        process: Who,
        /// An address that it stands for; `None` for any entry that is present.
        address: Option<u64>,
        /// 1 for what maps 4 KiB, 4 for the root's.
        level: u8,
    },
    /// A field of a process's descriptor.
    Descriptor {
        /// Whose.
        process: Who,
        /// Which.
        field: Field,
    },
    /// A word of a frame on loan; of this lender or borrower.
    Loan(Option<Who>),
    /// A datagram.
    Datagram,
    /// A device.
    Device(Device),
    /// A process.
    Process(Who),
}

/// A device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The timer, whose interrupt the kernel's clock raises.
    Timer,
    /// The watchdog.
    Watchdog,
    /// The console's line.
    Serial,
    /// Memory as the pager has it.
    Memory,
}

/// The effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Bits are inverted, once.
    Flip(Bits),
    /// A bit is held.
    StuckAt {
        /// At this value.
        value: bool,
        /// Which; drawn if not given.
        bit: Option<u32>,
        /// For how long; to the end if not given.
        ticks: Option<u64>,
    },
    /// The entry changes places with another one of its kind.
    Swap,
    /// This many datagrams, bytes or watchdog pets are lost.
    Drop(u64),
    /// This many datagrams or bytes are delivered twice.
    Duplicate(u64),
    /// The next datagram is late by this many ticks.
    Delay(u64),
    /// The process is ended.
    Kill,
    /// This many ticks pass while the guest is stopped.
    Pause(u64),
    /// A non-maskable interrupt.
    Nmi,
    /// This many timer interrupts are lost.
    Lost(u64),
    /// A timer interrupt without a cause is raised, this many ticks in a row.
    Spurious(u64),
    /// Free frames are withheld from the kernel.
    Withhold {
        /// Frames.
        frames: u64,
        /// For how long; to the end if not given.
        ticks: Option<u64>,
    },
}

/// Which bits are inverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// This many, drawn.
    Drawn(u32),
    /// This one.
    This(u32),
}

/// What is wrong with a fault's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key, below `fault[n]`.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Mistake {
    /// A mistake at this key.
    pub fn new(key: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.to_owned(), what: what.into(), remedy: remedy.into() }
    }
}
