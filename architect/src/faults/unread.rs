//! What nothing reads before it is rewritten: for each frame of a golden run the time in which a bit in it could be inverted
//! and nobody would ever know. Such a fault needs no run; what its run would have been is told from the golden one.
//!
//! A frame is *unread* at a doorbell if the guest's tables say all of this:
//!
//! - its entry in the frame table says free, quarantined or never used: the pager keeps its lists in that table and in no
//!   frame, and zeroes a frame when it gives it out, before anybody has it;
//! - nobody can reach it: no page table has it as a page or as a table, no loan that has not been taken down names it, no
//!   process has its descriptor there, and the processor has none of its page tables there.
//!
//! It stays so until it is given out, which zeroes it, or to the end of the life, where the comparison looks at no such frame;
//! unless somebody comes to reach it on the way. That takes a kernel that is not in order any more. So the first sign of one
//! ends all of it, also backwards: frames that were unread until then may have been read since. The first frame that is
//! given out of the quarantine too early is such a sign, for with it a window can reach somebody else's page; so is a phone
//! call, which has a program's code run where it can read everything; a reset; and whatever an audit finds.
//!
//! Why it is done so: `docs/decisions/0026-faults-that-need-no-run.md`.

use std::collections::BTreeSet;

use abi::frame::{FrameEntry, FrameKind};
use abi::loan::LOAN_NONE;
use abi::trace::{Kind, Record};
use abi::{Frame, GuestPhys, Pid};
use introspect::matrix::guest::Guest;
use introspect::x86::memory::{OutOfRange, PhysicalMemory};
use introspect::x86::reverse::ReverseMap;

use super::deed::Act;
use super::injector::Injector;
use super::target::Scene;
use crate::scenario::fault::model::{Fault, Place, What, When};
use crate::trace::hash::{Marks, TraceHash};

/// A golden run, watched for what is read in it.
#[derive(Debug)]
pub struct Unread {
    /// Bytes of memory that the guest has, from address 0 on.
    bytes: u64,
    /// All records of the run.
    records: Vec<Record>,
    /// Those of the first life at which faults can act.
    doorbells: Vec<Doorbell>,
    /// What each frame was used for, from which doorbell on.
    uses: Vec<Vec<Use>>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the first life, and nothing is wrong.
    Watching,
    /// In the first life, and from here on nothing is known.
    Lost,
    /// The run ended in its first life: faults act no more.
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Doorbell {
    tick: u64,
    /// Records that stand before those of a fault that acts here.
    records: usize,
    /// Whether it is known what was reachable here.
    seen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    /// From this doorbell on.
    from: usize,
    kind: u8,
    unread: bool,
}

/// What the run with some faults would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foretold {
    /// Its records: how many, and their hash.
    pub events: u64,
    /// See `events`.
    pub trace_hash: String,
    /// What the hash is along the way.
    pub trace_marks: Marks,
    /// Faults that act.
    pub acted: u32,
    /// Faults that find nothing to act on.
    pub missed: u32,
}

impl Unread {
    /// For a guest with so much memory that is about to start.
    pub fn new(memory_mib: u32) -> Self {
        Self {
            bytes: u64::from(memory_mib) << 20,
            records: Vec::new(),
            doorbells: Vec::new(),
            uses: Vec::new(),
            phase: Phase::Watching,
        }
    }

    /// Takes the next record of the run.
    pub fn record(&mut self, record: &Record) {
        self.records.push(*record);
        match Kind::from_raw(record.kind) {
            _ if self.phase != Phase::Watching => {}
            Some(Kind::End) => self.phase = Phase::Over,
            _ if is_trouble(record) => self.lose(),
            _ => {}
        }
    }

    /// The guest stands at a doorbell at which faults can act. `seen` is what an audit has just read, and the root of page
    /// tables that the processor has; nothing if there was no audit, or if it did not see everything.
    pub fn doorbell(&mut self, tick: u64, seen: Option<(&Guest, &ReverseMap, GuestPhys)>) {
        if self.phase != Phase::Watching {
            return;
        }
        // Where the processor has page tables that nobody is known to have, nobody knows what it can reach.
        let seen =
            seen.filter(|(_, map, root)| map.spaces().iter().any(|space| space.root.frame() == root.frame()));
        let nth = self.doorbells.len();
        self.doorbells.push(Doorbell { tick, records: self.records.len(), seen: seen.is_some() });
        let Some((guest, map, _)) = seen else { return };
        let reached = reached(guest, map);
        self.uses.resize(guest.frames.len().max(self.uses.len()), Vec::new());
        for ((fact, uses), number) in guest.frames.iter().zip(&mut self.uses).zip(0..) {
            let idle = is_idle(fact.kind);
            let now = Use { from: nth, kind: fact.kind, unread: idle && !reached.contains(&Frame(number)) };
            match uses.last_mut() {
                Some(before) if (before.kind, before.unread) == (now.kind, now.unread) => continue,
                // It was not given out, and somebody can reach it all the same.
                Some(before) if before.unread && idle && !now.unread => forget(uses),
                _ => {}
            }
            uses.push(now);
        }
    }

    /// Nothing is known from here on, nor of what was still to be rewritten.
    fn lose(&mut self) {
        self.phase = Phase::Lost;
        self.uses.iter_mut().for_each(|uses| forget(uses));
    }

    /// What the run with these faults would be; `None` if that can only be found out by making it.
    pub fn foretell(&self, faults: Vec<Fault>) -> Option<Foretold> {
        let plain = |fault: &Fault| {
            matches!(
                (&fault.when, &fault.place, fault.what),
                (When::Tick(_), Place::Physical(_) | Place::Frame(_), What::Flip(_))
            )
        };
        if !faults.iter().all(plain) {
            return None;
        }
        let all: Vec<u32> = (0..).take(faults.len()).collect();
        let mut injector = Injector::new(faults);
        let mut told = Vec::new();
        for (nth, doorbell) in self.doorbells.iter().enumerate() {
            if !injector.wants(doorbell.tick) {
                continue;
            }
            if !doorbell.seen {
                return None;
            }
            let mut guest = Guest::default();
            guest.frames = self.table(nth);
            let scene = Scene { guest: &guest, memory: &Blank(self.bytes) };
            for number in injector.busy() {
                for deed in injector.act(number, doorbell.tick, &scene, 0) {
                    match deed.act {
                        Act::Nothing => {}
                        Act::Write(word, _) if self.is_unread(word.at.frame(), nth) => {}
                        _ => return None,
                    }
                    told.extend(deed.record(doorbell.tick).map(|record| (doorbell.records, record)));
                }
            }
        }
        if self.phase != Phase::Over && injector.waits(&all) {
            return None;
        }
        let (trace_hash, trace_marks) = self.hash_with(&told);
        let of = |kind: Kind| told.iter().filter(|(_, record)| record.kind == kind as u16).count() as u32;
        Some(Foretold {
            events: (self.records.len() + told.len()) as u64,
            trace_hash,
            trace_marks,
            acted: of(Kind::FaultInjected),
            missed: of(Kind::FaultMissed),
        })
    }

    /// The frame table at a doorbell, as far as faults look at it. Frames that are unread are nobody's; of others nobody
    /// will ask.
    fn table(&self, nth: usize) -> Vec<FrameEntry> {
        let entry = |uses: &Vec<Use>| {
            let kind = at(uses, nth).map_or(FrameKind::Kernel as u8, |used| used.kind);
            FrameEntry { owner: Pid::NONE, next: 0, epoch: 0, kind, reserved: [0; 3] }
        };
        self.uses.iter().map(entry).collect()
    }

    /// Whether the frame is unread at a doorbell that was seen.
    fn is_unread(&self, frame: Frame, nth: usize) -> bool {
        let uses = usize::try_from(frame.0).ok().and_then(|frame| self.uses.get(frame));
        uses.and_then(|uses| at(uses, nth)).is_some_and(|used| used.unread)
    }

    /// The hash of all records with these at their places.
    fn hash_with(&self, told: &[(usize, Record)]) -> (String, Marks) {
        let mut hash = TraceHash::default();
        let mut told = told.iter().peekable();
        for (record, place) in self.records.iter().zip(0..) {
            while let Some((_, told)) = told.next_if(|(before, _)| *before == place) {
                hash.push(told);
            }
            hash.push(record);
        }
        told.for_each(|(_, record)| hash.push(record));
        hash.finish()
    }
}

/// A frame may have been read since it was last given out.
fn forget(uses: &mut [Use]) {
    uses.iter_mut().rev().take_while(|used| used.unread).for_each(|used| used.unread = false);
}

/// What a frame is used for at a doorbell.
fn at(uses: &[Use], nth: usize) -> Option<Use> {
    uses.iter().rev().find(|used| used.from <= nth).copied()
}

/// Whether the pager has it, to be zeroed before anybody else does.
fn is_idle(kind: u8) -> bool {
    matches!(FrameKind::from_raw(kind), Some(FrameKind::Unused | FrameKind::Free | FrameKind::Quarantined))
}

/// Frames that somebody can reach, whatever the frame table says of them.
fn reached(guest: &Guest, map: &ReverseMap) -> BTreeSet<Frame> {
    let pages = map.mapped().map(|mapped| mapped.frame());
    let tables = map.table_pages().map(|(table, _)| table.frame);
    let descriptors = guest.processes.iter().map(|process| process.frame);
    let loans = guest.loans.iter().filter(|loan| loan.state != LOAN_NONE);
    let lent = loans.flat_map(|loan| loan.frames).map(|frame| Frame(frame.into()));
    pages.chain(tables).chain(descriptors).chain(lent).collect()
}

/// Whether from here on nobody can say from outside what the guest reads.
fn is_trouble(record: &Record) -> bool {
    match Kind::from_raw(record.kind) {
        // Out of the quarantine before its time.
        Some(Kind::Given) => record.c == 2,
        Some(
            Kind::Phone
            | Kind::Panic
            | Kind::Reset
            | Kind::Stray
            | Kind::Blind
            | Kind::LeakFound
            | Kind::CrossingFound
            | Kind::BackingFound
            | Kind::ExecutableFound
            | Kind::HiddenSpace,
        ) => true,
        _ => false,
    }
}

/// Memory of which only the size matters: what is unread may hold anything.
struct Blank(u64);

impl PhysicalMemory for Blank {
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange> {
        let len = into.len() as u64;
        match at.0.checked_add(len) {
            Some(end) if end <= self.0 => {
                into.fill(0);
                Ok(())
            }
            _ => Err(OutOfRange { at, len }),
        }
    }
}

#[cfg(test)]
mod tests;
