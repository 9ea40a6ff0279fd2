//! What a fault comes to: a value, applied by the vCPU loop's owner, and told as an event.

use abi::Pid;
use abi::info::Command;
use abi::trace::{Kind, Record};

use super::target::{Missing, Word};
use crate::scenario::fault::fields::Register;

/// One thing to be done to the guest.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed {
    /// The fault's place in the resolved scenario.
    pub number: u32,
    /// What is to be done.
    pub act: Act,
    /// What is to be told of it.
    pub note: Note,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// This word gets this value.
    Write(Word, u64),
    /// These bits of the processor's register are inverted.
    Invert(Register, u64),
    /// The guest is given this command.
    Command(Command),
    /// A non-maskable interrupt.
    Nmi,
    /// The watchdog counts this many ticks while the guest is stopped.
    Pause(u64),
    /// The watchdog does not receive this many pets.
    LosePets(u64),
    /// The console's line damages what passes next.
    Serial(Noise),
}

/// What happens to bytes on the console's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// These bits of the next byte are inverted.
    Flip(u8),
    /// This many bytes are lost.
    Drop(u64),
    /// This many bytes are delivered twice.
    Duplicate(u64),
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// It acts: on whom, where, and what it changes.
    Injected {
        /// Whom it concerns.
        pid: Pid,
        /// The address that it changes; 0 if none.
        at: u64,
        /// The bits that it inverts there; how many or how long, if it is not about bits.
        change: u64,
    },
    /// There was nothing that it could act on.
    Missed(Missing),
    /// It has ended.
    Ended {
        /// The address that it held; 0 if none.
        at: u64,
    },
    /// Nothing: it goes on as told.
    Silent,
}

impl Deed {
    /// The event.
    pub fn record(&self, tick: u64) -> Option<Record> {
        let (kind, pid, b, c) = match self.note {
            Note::Injected { pid, at, change } => (Kind::FaultInjected, pid, at, change),
            Note::Missed(reason) => (Kind::FaultMissed, Pid::NONE, reason as u64, 0),
            Note::Ended { at } => (Kind::FaultEnded, Pid::NONE, at, 0),
            Note::Silent => return None,
        };
        Some(Record { tick: tick as u32, kind: kind as u16, reserved: 0, pid, a: self.number, b, c })
    }
}
