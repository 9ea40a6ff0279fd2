//! The observer: what the Architect sees from outside. At each doorbell it takes the records out of the guest's trace,
//! and at each tick it reads the guest's tables and page tables and holds them against the policy.
//!
//! The guest may have damaged anything it shows; the observer then says that it is blind, and never follows.

use std::collections::BTreeSet;

use abi::GuestPhys;
use abi::info::{FROM_HOST, FromHost, HOST_FILLS, HOST_LISTENS, Info};
use abi::trace::Record;
use introspect::memory::PhysicalMemory;
use introspect::paging::Paging;
use introspect::policy::{Finding, Policy, What};
use introspect::reverse::ReverseMap;
use introspect::space::{Guest, ReadError};
use zerocopy::IntoBytes;

use crate::ledger::Sharing;
use crate::memory::GuestMemory;

/// Most records that a ring can hold, so that a damaged size costs no more than this.
const MOST_SLOTS: u64 = 1 << 16;

/// A view of one incarnation of a guest.
pub struct Observer {
    info_at: GuestPhys,
    /// Records taken so far. Kept here: the guest's own copy may be damaged.
    tail: u64,
    guest: Guest,
    map: ReverseMap,
    policy: Policy,
    findings: Vec<Finding>,
    known: BTreeSet<(What, Sharing)>,
}

impl Observer {
    /// The guest has said where its info block is: checks it, and tells the guest that somebody listens.
    pub fn attach(memory: &GuestMemory, info_at: GuestPhys) -> Result<Self, ReadError> {
        let guest = Guest::read(memory, info_at)?;
        let observer = Self {
            info_at,
            tail: 0,
            guest,
            map: ReverseMap::default(),
            policy: Policy::default(),
            findings: Vec::new(),
            known: BTreeSet::new(),
        };
        observer.tell(memory);
        Ok(observer)
    }

    /// Writes the host's part of the info page.
    fn tell(&self, memory: &GuestMemory) {
        let words =
            FromHost { features: HOST_LISTENS | HOST_FILLS, trace_tail: self.tail, ..FromHost::default() };
        // The page was read, so it is there.
        let _ = memory.write(self.info_at.add(FROM_HOST), words.as_bytes());
    }

    /// Takes all new records out of the ring, in order.
    pub fn drain(&mut self, memory: &GuestMemory, mut take: impl FnMut(&Record)) {
        let Ok(info) = memory.read_value::<Info>(self.info_at) else { return };
        let slots = u64::from(info.trace_slots).clamp(1, MOST_SLOTS);
        // A damaged head makes at most one ring's worth of nonsense.
        let from = self.tail.max(info.trace_head.saturating_sub(slots));
        for number in from..info.trace_head {
            let at = info.trace_ring.add(number % slots * size_of::<Record>() as u64);
            if let Ok(record) = memory.read_value::<Record>(at) {
                take(&record);
            }
        }
        self.tail = info.trace_head;
        self.tell(memory);
    }

    /// Reads tables and page tables. An error means that the guest's own tables cannot be read any more.
    pub fn audit(&mut self, memory: &GuestMemory) -> Result<(), ReadError> {
        self.guest.refresh(memory, self.info_at)?;
        self.map.rebuild(memory, Paging::default(), self.guest.spaces(), ReverseMap::BUDGET);
        self.findings.clear();
        self.policy.check(&self.map, &self.guest.frames, &self.guest.loans, &mut self.findings);
        Ok(())
    }

    /// What the last audit found, where it breaks a rule.
    pub fn violations(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.what.is_violation())
    }

    /// Whether this is the first audit that finds this sharing.
    pub fn is_new(&mut self, what: What, sharing: Sharing) -> bool {
        self.known.insert((what, sharing))
    }

    /// Whether the last audit could follow every page table to its end.
    pub fn is_complete(&self) -> bool {
        self.map.is_complete() && self.guest.problems.is_empty()
    }

    /// The guest's tables as last read.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Virtual time as the guest has it now.
    pub fn now(&self, memory: &GuestMemory) -> u64 {
        let at = self.info_at.add(core::mem::offset_of!(Info, tick) as u64);
        memory.read_u64(at).unwrap_or(0)
    }
}
