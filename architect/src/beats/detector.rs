//! What a detector is and what it sees.

use abi::Pid;
use abi::trace::Record;
use introspect::matrix::guest::Guest;
use introspect::x86::memory::PhysicalMemory;
use introspect::x86::reverse::ReverseMap;
use serde_json::Value;

use super::known::Known;
use super::process;

/// What an audit has just read, with the guest standing still.
pub struct View<'a> {
    /// Virtual time.
    pub tick: u64,
    /// The guest's tables.
    pub guest: &'a Guest,
    /// Who maps what.
    pub map: &'a ReverseMap,
    /// The guest's memory.
    pub memory: &'a dyn PhysicalMemory,
}

impl View<'_> {
    /// A process as evidence.
    pub(super) fn who(&self, who: Pid) -> Value {
        let label = self.guest.process(who).map(|process| process.descriptor.label().collect::<String>());
        process::evidence(who, label.as_deref())
    }
}

/// Looks for one beat in one incarnation. It gives the beat's evidence when it can prove it.
///
/// The records of a tick come before the audit at its end, so `known` is what the audit before them has read.
pub(super) trait Detector {
    /// Looks at a record.
    fn event(&mut self, _record: &Record, _known: &Known) -> Option<Value> {
        None
    }

    /// Looks at an audit.
    fn audit(&mut self, _view: &View<'_>, _known: &Known) -> Option<Value> {
        None
    }
}
