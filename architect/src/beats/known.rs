//! What is known of processes when a record is read: what the trace said of their birth, and what the last audit read.

use std::collections::BTreeMap;

use abi::Pid;
use abi::process::{Descriptor, State};
use abi::trace::{Kind, Record};
use introspect::matrix::guest::Guest;
use serde_json::Value;

use super::process;

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
    /// Labels, also of who is gone while nobody follows in his slot.
    labels: BTreeMap<usize, (Pid, String)>,
}

impl Known {
    pub(super) fn event(&mut self, record: &Record) {
        match Kind::from_raw(record.kind) {
            Some(Kind::Spawn) => {
                self.born.insert(record.pid.slot(), (record.pid, record.a));
            }
            Some(Kind::Restarted) => self.succeed(Pid(record.b as u32), record.pid),
            _ => {}
        }
    }

    /// A service was started again, and keeps its program.
    fn succeed(&mut self, before: Pid, pid: Pid) {
        let label = self.labels.get(&before.slot()).filter(|(labelled, _)| *labelled == before);
        if let Some((_, label)) = label.cloned() {
            self.labels.insert(pid.slot(), (pid, label));
        }
    }

    pub(super) fn audit(&mut self, guest: &Guest) {
        let fresh = || guest.processes.iter().map(|process| &process.descriptor);
        if !fresh().map(|descriptor| descriptor.pid).eq(self.descriptors.iter().map(|before| before.pid)) {
            for descriptor in fresh() {
                let label = self.labels.entry(descriptor.pid.slot()).or_default();
                if label.0 != descriptor.pid {
                    *label = (descriptor.pid, descriptor.label().collect());
                }
            }
        }
        self.descriptors.clear();
        self.descriptors.extend(fresh());
        self.free_frames = guest.info.free_frames;
        for descriptor in self.descriptors.iter().filter(|descriptor| descriptor.ring == 0) {
            let attends = State::from_raw(descriptor.state) == Some(State::Attending);
            let known = self.attendants.contains(&descriptor.pid);
            if attends && !known && self.attendants.len() < MOST_ATTENDANTS {
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
        let label = self.labels.get(&pid.slot()).filter(|(labelled, _)| *labelled == pid);
        process::evidence(pid, label.map(|(_, label)| label.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::Frame;
    use introspect::matrix::guest::Process;
    use zerocopy::FromZeros;

    fn guest(pid: Pid, uid: u32, name: &[u8]) -> Guest {
        let mut descriptor = Descriptor::new_zeroed();
        (descriptor.pid, descriptor.uid) = (pid, uid);
        descriptor.name[..name.len()].copy_from_slice(name);
        let mut guest = Guest::default();
        guest.processes.push(Process { frame: Frame(0), descriptor });
        guest
    }

    #[test]
    fn the_dead_keep_their_names_and_lose_their_descriptors() {
        let (old, new) = (Pid::new(1, 0), Pid::new(1, 1));
        let mut known = Known::default();
        known.audit(&guest(old, 0, b"smith"));
        known.audit(&Guest::default());
        assert_eq!((known.who(old)["name"].as_str(), known.descriptor(old)), (Some("smith"), None));
        known.audit(&guest(new, 0, b"brown"));
        assert_eq!((known.who(new)["name"].as_str(), known.who(old)["name"].as_str()), (Some("brown"), None));
    }

    #[test]
    fn who_is_root_says_the_descriptor_and_before_it_the_birth() {
        let pid = Pid::new(1, 0);
        let mut known = Known::default();
        assert!(!known.is_root(pid), "nobody is known");
        known.event(&Record { kind: Kind::Spawn as u16, pid, ..Record::default() });
        assert!(known.is_root(pid));
        assert_eq!(known.uid_at_birth(Pid::new(1, 1)), None);
        known.audit(&guest(pid, 1000, b""));
        assert!(!known.is_root(pid));
    }
}
