//! What is known of processes when a record is read: what the trace said of their birth, and what the last audit read.

use std::collections::BTreeMap;

use abi::Pid;
use abi::process::{Descriptor, State};
use abi::trace::{Kind, Record};
use introspect::space::Guest;
use serde_json::Value;

use super::detector::who;

/// Most processes that are remembered as the timer's.
const MOST_ATTENDANTS: usize = 8;

/// What is known of one incarnation's processes.
#[derive(Default)]
pub(super) struct Known {
    /// As of the last audit, in the order of their slots.
    descriptors: Vec<Descriptor>,
    free_frames: u32,
    /// By slot, so that there are no more than slots.
    born: BTreeMap<usize, (Pid, u32)>,
    attendants: Vec<Pid>,
}

impl Known {
    pub(super) fn event(&mut self, record: &Record) {
        if Kind::from_raw(record.kind) == Some(Kind::Spawn) {
            self.born.insert(record.pid.slot(), (record.pid, record.a));
        }
    }

    pub(super) fn audit(&mut self, guest: &Guest) {
        self.descriptors.clear();
        self.descriptors.extend(guest.processes.iter().map(|process| process.descriptor));
        self.free_frames = guest.info.free_frames;
        for descriptor in &self.descriptors {
            let attends = descriptor.ring == 0 && State::from_raw(descriptor.state) == Some(State::Attending);
            if attends
                && !self.attendants.contains(&descriptor.pid)
                && self.attendants.len() < MOST_ATTENDANTS
            {
                self.attendants.push(descriptor.pid);
            }
        }
    }

    /// The process's descriptor at the last audit.
    pub(super) fn descriptor(&self, pid: Pid) -> Option<&Descriptor> {
        let at =
            self.descriptors.binary_search_by_key(&pid.slot(), |descriptor| descriptor.pid.slot()).ok()?;
        Some(&self.descriptors[at]).filter(|descriptor| descriptor.pid == pid)
    }

    /// The uid that the process was made with, by the trace.
    pub(super) fn uid_at_birth(&self, pid: Pid) -> Option<u32> {
        self.born.get(&pid.slot()).filter(|(born, _)| *born == pid).map(|(_, uid)| *uid)
    }

    /// Whether the process is root: by its descriptor, or if no audit has seen it yet, by its birth.
    pub(super) fn is_root(&self, pid: Pid) -> bool {
        let uid = self.descriptor(pid).map(|descriptor| descriptor.uid);
        uid.or_else(|| self.uid_at_birth(pid)) == Some(0)
    }

    /// Kernel processes that an audit has seen wait for the timer's interrupt.
    pub(super) fn attendants(&self) -> &[Pid] {
        &self.attendants
    }

    /// Free frames at the last audit.
    pub(super) fn free_frames(&self) -> u32 {
        self.free_frames
    }

    /// A process as evidence.
    pub(super) fn who(&self, pid: Pid) -> Value {
        who(pid, self.descriptor(pid))
    }
}
