//! A run in a few numbers: what a faulty run and its golden run are compared by.

use std::collections::BTreeSet;

use abi::Pid;
use abi::trace::{Kind, Record};
use blake3::Hasher;
use zerocopy::IntoBytes;

use super::reset::{PutBack, Reset};
use crate::terms::Outcome;

/// Who can notice that something is wrong, other than the programs whose data it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watcher {
    /// The processor: an exception ended a process.
    Processor,
    /// The kernel: it found its own state impossible and panicked.
    Kernel,
    /// The network's checksums.
    Network,
    /// The Agents: they tagged a process.
    Agents,
    /// The audits of page tables.
    Audit,
    /// The monitor: it had a process ended, or a service started again.
    Monitor,
    /// The watchdog: nobody petted it.
    Watchdog,
}

impl Watcher {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Processor,
        Self::Kernel,
        Self::Network,
        Self::Agents,
        Self::Audit,
        Self::Monitor,
        Self::Watchdog,
    ];

    /// The name in verdicts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Kernel => "kernel",
            Self::Network => "network",
            Self::Agents => "agents",
            Self::Audit => "audit",
            Self::Monitor => "monitor",
            Self::Watchdog => "watchdog",
        }
    }

    /// Who it is that an event comes from.
    fn of(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Fault => Self::Processor,
            Kind::Panic => Self::Kernel,
            Kind::Damaged => Self::Network,
            Kind::Tagged => Self::Agents,
            Kind::LeakFound
            | Kind::CrossingFound
            | Kind::BackingFound
            | Kind::ExecutableFound
            | Kind::HiddenSpace
            | Kind::Blind => Self::Audit,
            Kind::MonitorKill | Kind::MonitorRestart => Self::Monitor,
            Kind::Expired => Self::Watchdog,
            _ => return None,
        })
    }
}

/// Things of one kind that were noticed: how many, and where in the first life's time the first of them were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// How many in all.
    pub count: u64,
    /// Where the first ones are: numbers of their records in the story.
    pub first: Vec<u64>,
}

impl Noticed {
    /// How many are remembered by their place.
    const KEPT: usize = 32;

    fn add(&mut self, place: u64) {
        self.count += 1;
        if self.first.len() < Self::KEPT {
            self.first.push(place);
        }
    }

    /// Where the first one is that `golden` has not; `None` if it has them all.
    pub fn beyond(&self, golden: &Self) -> Option<u64> {
        if self.count <= golden.count {
            return None;
        }
        let same = self.first.iter().zip(&golden.first).take_while(|(one, other)| one == other).count();
        self.first.get(same).copied().or(Some(u64::MAX))
    }
}

/// What a run leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// See [`Digest::console`].
    pub console: [u8; 32],
    /// See [`Digest::memory`].
    pub memory: Option<[u8; 32]>,
    /// See [`Digest::standing`].
    pub standing: u32,
    /// See [`Digest::put_back`].
    pub put_back: PutBack,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// How it ended, seen by itself.
    pub outcome: Outcome,
    /// Hash of all records but the last, and those about faults.
    pub story: [u8; 32],
    /// Hash of what arrived on the console in the first life.
    pub console: [u8; 32],
    /// Hash of live user data and kernel tables at the end; `None` if it was not taken, or the tables could not be read.
    pub memory: Option<[u8; 32]>,
    /// Hash of the first life's beginning, as long as a new life is watched; `None` if it did not last as long.
    pub beginning: Option<[u8; 32]>,
    /// The same of the last life, if there was more than one.
    pub last_beginning: Option<[u8; 32]>,
    /// Programs that ended because their own checks failed.
    pub failures: Noticed,
    /// What others noticed, by [`Watcher`].
    pub noticed: [Noticed; Watcher::ALL.len()],
    /// The resets.
    pub resets: Vec<Reset>,
    /// From where it goes on after one.
    pub put_back: PutBack,
    /// NMIs that a guest handled and went on.
    pub nmis_survived: u64,
    /// Times that the watchdog was petted after it had last expired.
    pub pets_since_expiry: u64,
    /// What the guest did after that, in records; `None` if the run was over at once.
    pub progress_since_expiry: Option<u64>,
    /// Faults that acted, and that found nothing to act on.
    pub acted: u32,
    /// The latter.
    pub missed: u32,
    /// Words that were still changed at the end, as faults had left them, in frames that were in use as before.
    pub standing: u32,
}

/// Makes a [`Digest`] of a run while it goes on.
pub struct Account {
    story: Hasher,
    /// Of the present life, until it has been taken.
    life: Option<Hasher>,
    lives: u32,
    records: u64,
    beginning: Option<[u8; 32]>,
    last_beginning: Option<[u8; 32]>,
    failures: Noticed,
    noticed: [Noticed; Watcher::ALL.len()],
    tagged: BTreeSet<Pid>,
    resets: Vec<Reset>,
    /// An NMI was handled and nothing has come of it yet.
    nmi: bool,
    nmis_survived: u64,
    pets_since_expiry: u64,
    progress_since_expiry: u64,
    /// The tick of the last expiry, and of the end.
    expired: u32,
    ended: u32,
    acted: u32,
    missed: u32,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            story: Hasher::new(),
            life: None,
            lives: 0,
            records: 0,
            beginning: None,
            last_beginning: None,
            failures: Noticed::default(),
            noticed: Default::default(),
            tagged: BTreeSet::new(),
            resets: Vec::new(),
            nmi: false,
            nmis_survived: 0,
            pets_since_expiry: 0,
            progress_since_expiry: 0,
            expired: 0,
            ended: 0,
            acted: 0,
            missed: 0,
        }
    }
}

impl Account {
    /// Takes the next record.
    pub fn record(&mut self, record: &Record) {
        let Some(kind) = Kind::from_raw(record.kind) else { return };
        match kind {
            Kind::FaultInjected => self.acted += 1,
            Kind::FaultMissed => self.missed += 1,
            Kind::End => self.ended = record.tick,
            _ => {}
        }
        // The end is no part of the story: it is known before there is its record.
        if matches!(kind, Kind::FaultInjected | Kind::FaultMissed | Kind::FaultEnded | Kind::End) {
            return;
        }
        self.story.update(record.as_bytes());
        if kind == Kind::Start {
            self.lives += 1;
            self.life = Some(Hasher::new());
            self.tagged.clear();
            self.nmi = false;
        } else if let Some(life) = &mut self.life {
            life.update(record.as_bytes());
        }
        let place = self.records;
        self.records += 1;
        if let Some(watcher) = Watcher::of(kind) {
            self.noticed[watcher as usize].add(place);
        }
        // That time goes on, and that an NMI is handled, takes nobody who does anything.
        let idle = matches!(kind, Kind::Missed | Kind::Nmi | Kind::Verdict);
        if record.kind < Kind::Start as u16 && !idle {
            self.progress_since_expiry += 1;
        }
        match kind {
            Kind::Tagged => drop(self.tagged.insert(record.pid)),
            // How a violator ends is his own affair.
            Kind::Exit if record.a != 0 && !self.tagged.contains(&record.pid) => self.failures.add(place),
            Kind::Nmi => self.nmi = true,
            Kind::Verdict if record.a == 0 => {
                self.nmi = false;
                self.nmis_survived += 1;
            }
            Kind::Expired => {
                (self.pets_since_expiry, self.progress_since_expiry) = (0, 0);
                self.expired = record.tick;
            }
            Kind::Pet => self.pets_since_expiry += 1,
            Kind::Reset => self.resets.push(match record.a {
                2 => Reset::Watchdog,
                3 => Reset::Vmm,
                _ if self.nmi => Reset::NmiHandler,
                _ => Reset::Guest,
            }),
            _ => {}
        }
    }

    /// The present life has lasted as long as a new one is watched.
    pub fn lasted(&mut self) {
        let Some(life) = self.life.take() else { return };
        let hash = Some(*life.finalize().as_bytes());
        if self.lives == 1 { self.beginning = hash } else { self.last_beginning = hash }
    }

    /// The hash of the story so far.
    pub fn story(&self) -> [u8; 32] {
        *self.story.finalize().as_bytes()
    }

    /// The run is over.
    pub fn finish(self, outcome: Outcome, left: Left) -> Digest {
        let Left { console, memory, standing, put_back } = left;
        Digest {
            outcome,
            story: self.story(),
            console,
            memory,
            beginning: self.beginning,
            last_beginning: self.last_beginning,
            failures: self.failures,
            noticed: self.noticed,
            resets: self.resets,
            put_back,
            nmis_survived: self.nmis_survived,
            pets_since_expiry: self.pets_since_expiry,
            progress_since_expiry: (self.ended != self.expired).then_some(self.progress_since_expiry),
            acted: self.acted,
            missed: self.missed,
            standing,
        }
    }
}
