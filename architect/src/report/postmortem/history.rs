//! The history of one incarnation: what its events and audits say of frames, loans, deaths and waits, kept as far as a
//! post-mortem can ask for it. It takes what others have recorded and gives nothing back to the run. What it remembers
//! is bounded: by the guest's frames, loans and process slots, and by fixed numbers of examples.

use std::collections::BTreeMap;

use abi::frame::FrameKind;
use abi::layout::LOAN_PAGES;
use abi::process::State;
use abi::trace::{Kind, Record};
use abi::{Frame, Pid};
use introspect::matrix::guest::Guest;

use crate::analysis::ledger::is_wrong;
use crate::analysis::tags::ended_badly;

/// Most processes whose names are kept: they are for the reader, and the first are those that matter.
const MOST_NAMES: usize = 1 << 16;
/// Most examples of a kind that are kept; what comes later is counted.
const MOST: usize = 1 << 12;
/// Most windows and frames of one that a guest can have, whatever its trace says.
const MOST_WINDOWS: usize = introspect::matrix::guest::MOST_LOANS as usize;
const MOST_FRAMES: u64 = introspect::matrix::guest::MOST_FRAMES as u64;

/// A loan whose window stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) loan: u32,
    pub(super) lender: Pid,
    pub(super) borrower: Pid,
    pub(super) lent: u32,
    /// The port that the message went to.
    pub(super) port: Option<u32>,
    /// When the loan ended.
    pub(super) ended: Option<u32>,
    frames: Vec<Frame>,
}

/// How a frame was last taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freed {
    pub(super) tick: u32,
    pub(super) of: Pid,
    pub(super) quarantined: bool,
    pub(super) epoch: u64,
    /// The end of whose it was, if that is why.
    pub(super) death: Option<Death>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) pid: Pid,
    pub(super) tick: u32,
    pub(super) how: How,
    /// It had just given up waiting for an answer.
    pub(super) gave_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Exit(u32),
    Fault(u32),
    /// By whom, if by a process; and whether the monitor had ordered it.
    Killed(Option<Pid>, bool),
    OutOfMemory,
}

/// A frame was given out while somebody else's window on it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reuse {
    pub(super) tick: u32,
    pub(super) frame: Frame,
    pub(super) to: Pid,
    pub(super) used: Option<FrameKind>,
    pub(super) source: u64,
    pub(super) window: Window,
    pub(super) freed: Option<Freed>,
    /// The last epoch that had ended by then.
    pub(super) last_epoch: u64,
}

impl Reuse {
    /// [`Self::source`] of a frame that was taken out of quarantine early, which the pager does when no frame is free.
    pub(super) const EARLY: u64 = 2;
}

/// Numbers of an incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Counts {
    /// Frames given out, those that came out of quarantine early, and those on which a window stood.
    pub(super) given: u64,
    pub(super) early: u64,
    pub(super) reused_under_a_window: u64,
    pub(super) epochs: u64,
    pub(super) timeouts: u64,
    pub(super) late_writes: u64,
    pub(super) deaths: u64,
    pub(super) crashes: u64,
    /// Orders of the monitor, and those given after memory had become short.
    pub(super) kills_ordered: u64,
    pub(super) restarts_ordered: u64,
    pub(super) orders_while_short: u64,
    /// Wrong sharings that audits found.
    pub(super) findings: u64,
    pub(super) audits: u64,
    pub(super) most_alive: u32,
    pub(super) fewest_free: Option<u32>,
    /// At audits: processes that waited for a less urgent one which waited for the processor; and for how long at most.
    pub(super) inversions: u64,
    pub(super) longest_inversion: u64,
}

/// The history.
#[derive(Default)]
pub struct History {
    pub(super) counts: Counts,
    pub(super) reuses: Vec<Reuse>,
    pub(super) crashes: Vec<Death>,
    pub(super) short_since: Option<u32>,
    pub(super) last_pet: Option<u32>,
    pub(super) last_epoch: u64,
    pub(super) last_epoch_tick: Option<u32>,
    windows: BTreeMap<u32, Window>,
    on: BTreeMap<Frame, Vec<u32>>,
    freed: BTreeMap<Frame, Freed>,
    names: BTreeMap<Pid, String>,
    /// By slot: who was there at the last audit, and who died there last.
    present: Vec<Pid>,
    deaths: BTreeMap<usize, Death>,
    ordered: BTreeMap<usize, Pid>,
    gave_up: BTreeMap<usize, (Pid, u32)>,
    tagged: BTreeMap<usize, Pid>,
}

impl History {
    /// Takes an event. A new incarnation begins a new history.
    pub fn event(&mut self, record: &Record) {
        let Record { tick, pid, a, b, .. } = *record;
        let slot = pid.slot();
        let Some(kind) = Kind::from_raw(record.kind) else { return };
        if matches!(kind, Kind::Lend | Kind::Given | Kind::Freed) && b >= MOST_FRAMES {
            return;
        }
        match kind {
            Kind::Start => *self = Self::default(),
            Kind::Lend => self.lend(record),
            Kind::Send => {
                if let Some(window) = self.windows.get_mut(&(record.c as u32)) {
                    window.port = Some(a);
                }
            }
            Kind::LoanEnd => {
                if let Some(window) = self.windows.get_mut(&a) {
                    window.ended = Some(tick);
                }
            }
            Kind::Teardown => self.tear_down(a),
            Kind::Given => self.given(record),
            Kind::Freed => {
                let death = self.deaths.get(&slot).filter(|death| death.pid == pid).copied();
                let freed = Freed { tick, of: pid, quarantined: a != 0, epoch: record.c, death };
                self.freed.insert(Frame(b), freed);
            }
            Kind::Epoch => {
                self.counts.epochs += 1;
                (self.last_epoch, self.last_epoch_tick) = (a.into(), Some(tick));
            }
            Kind::Timeout => {
                self.counts.timeouts += 1;
                self.gave_up.insert(slot, (pid, tick));
            }
            Kind::LateWrite => self.counts.late_writes += 1,
            Kind::LowWater => {
                self.short_since.get_or_insert(tick);
            }
            Kind::Pet => self.last_pet = Some(tick),
            Kind::Tagged => drop(self.tagged.insert(slot, pid)),
            Kind::MonitorKill => {
                self.counts.kills_ordered += 1;
                self.counts.orders_while_short += u64::from(self.short_since.is_some());
                self.ordered.insert(slot, pid);
            }
            Kind::MonitorRestart => {
                self.counts.restarts_ordered += 1;
                self.counts.orders_while_short += u64::from(self.short_since.is_some());
            }
            Kind::LeakFound | Kind::CrossingFound | Kind::BackingFound => self.counts.findings += 1,
            Kind::Exit => self.died(record, How::Exit(a)),
            Kind::Fault => self.died(record, How::Fault(a)),
            Kind::OutOfMemory => self.died(record, How::OutOfMemory),
            Kind::Kill => {
                let by = Some(Pid(b as u32)).filter(|by| *by != Pid::NONE);
                let ordered = by.is_none() && self.ordered.get(&slot) == Some(&pid);
                self.died(record, How::Killed(by, ordered));
            }
            _ => {}
        }
    }

    fn lend(&mut self, record: &Record) {
        let (loan, frame) = (record.a, Frame(record.b));
        if self.windows.len() >= MOST_WINDOWS && !self.windows.contains_key(&loan) {
            return;
        }
        let window = self.windows.entry(loan).or_insert_with(|| Window {
            loan,
            lender: record.pid,
            borrower: Pid(record.c as u32),
            lent: record.tick,
            port: None,
            ended: None,
            frames: Vec::new(),
        });
        if window.frames.len() == LOAN_PAGES {
            return;
        }
        window.frames.push(frame);
        self.on.entry(frame).or_default().push(loan);
    }

    fn tear_down(&mut self, loan: u32) {
        for frame in self.windows.remove(&loan).map_or(Vec::new(), |window| window.frames) {
            let on = self.on.entry(frame).or_default();
            on.retain(|other| *other != loan);
            if on.is_empty() {
                self.on.remove(&frame);
            }
        }
    }

    fn given(&mut self, record: &Record) {
        let (frame, to, source) = (Frame(record.b), record.pid, record.c);
        let used = u8::try_from(record.a).ok().and_then(FrameKind::from_raw);
        self.counts.given += 1;
        self.counts.early += u64::from(source == Reuse::EARLY);
        let freed = self.freed.remove(&frame);
        let standing = self.on.get(&frame).into_iter().flatten().filter_map(|loan| self.windows.get(loan));
        let wrong = |window: &&Window| is_wrong(used, to, window.lender, window.borrower);
        let last_epoch = self.last_epoch;
        let wrong: Vec<Reuse> = standing
            .filter(wrong)
            .map(|window| {
                let window = window.clone();
                Reuse { tick: record.tick, frame, to, used, source, window, freed, last_epoch }
            })
            .collect();
        self.counts.reused_under_a_window += u64::from(!wrong.is_empty());
        let room = MOST.saturating_sub(self.reuses.len());
        self.reuses.extend(wrong.into_iter().take(room));
    }

    fn died(&mut self, record: &Record, how: How) {
        let Record { tick, pid, .. } = *record;
        let gave_up = self.gave_up.get(&pid.slot()) == Some(&(pid, tick));
        let death = Death { pid, tick, how, gave_up };
        self.counts.deaths += 1;
        self.deaths.insert(pid.slot(), death);
        // How a violator ends is his own affair.
        if ended_badly(record) && self.tagged.get(&pid.slot()) != Some(&pid) {
            self.counts.crashes += 1;
            if self.crashes.len() < MOST {
                self.crashes.push(death);
            }
        }
    }

    /// Takes what an audit has just read of the guest's tables.
    pub fn audit(&mut self, guest: &Guest) {
        let counts = &mut self.counts;
        counts.audits += 1;
        counts.most_alive = counts.most_alive.max(guest.info.alive);
        let free = guest.info.free_frames;
        counts.fewest_free = Some(counts.fewest_free.map_or(free, |fewest| fewest.min(free)));
        for process in &guest.processes {
            let descriptor = &process.descriptor;
            let slot = descriptor.pid.slot();
            if self.present.len() <= slot {
                self.present.resize(slot + 1, Pid::NONE);
            }
            if self.present[slot] != descriptor.pid && self.names.len() < MOST_NAMES {
                self.present[slot] = descriptor.pid;
                self.names.insert(descriptor.pid, descriptor.label().collect());
            }
            let waits = matches!(process.state(), Some(State::Sending | State::AwaitingReply));
            let inverted = waits
                && guest.process(descriptor.peer).is_some_and(|peer| {
                    peer.state() == Some(State::Ready) && peer.descriptor.effective > descriptor.effective
                });
            if inverted {
                counts.inversions += 1;
                let waited = guest.info.tick.saturating_sub(descriptor.since);
                counts.longest_inversion = counts.longest_inversion.max(waited);
            }
        }
    }

    /// The process's label, if an audit has seen it; for people.
    pub(super) fn name(&self, pid: Pid) -> Option<&str> {
        self.names.get(&pid).map(String::as_str)
    }
}
