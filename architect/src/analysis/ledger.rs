//! The ledger: the second source of truth. From the trace alone (who was given which frame, which window was opened on
//! it and when it was taken down) it knows which sharings are wrong, and since when, without looking at a page table.
//!
//! An audit's findings are held against it: see [`crate::analysis::detection`].
//!
//! A window is wrong by what its frame is used for at the moment:
//!
//! | frame | wrong is a window |
//! |---|---|
//! | given to a process for its memory | that was lent by somebody else, unless it is the process's own |
//! | given for a page that a process shares with the kernel | of anybody else; such a page may outlive its process and is nobody's then |
//! | given for the kernel's own use | of anybody |
//! | freed, in quarantine | none: that is what quarantine is for |
//! | freed, and out of quarantine | of anybody |
//!
//! What the trace cannot say is that a window is there no more without having been taken down: a late write may wipe out its
//! page-table entry, or a table on the way to it. So at an audit each sharing that none has had yet is asked for in memory by
//! [`window_maps`]: from the root that the trace has for the process, and not by the audit's own walk.

use std::collections::{BTreeMap, BTreeSet};

use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_WINDOWS, USER_WINDOWS_END};
use abi::trace::{Kind, Record};
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::x86::memory::PhysicalMemory;
use introspect::x86::paging::Paging;

/// A frame within reach of somebody who has no right to it: the frame, who owns it, who else reaches it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sharing {
    /// The frame.
    pub frame: Frame,
    /// To whom it was given; [`Pid::NONE`] if it belongs to nobody.
    pub owner: Pid,
    /// Who reaches it.
    pub other: Pid,
}

/// A window on a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Window {
    loan: u32,
    frame: Frame,
    lender: Pid,
    borrower: Pid,
}

/// What the trace said last of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// Given to this process, for this.
    Given(Pid, Option<FrameKind>),
    Quarantined,
    Free,
}

impl Use {
    /// The sharing that this window is, if it is a wrong one.
    fn wrongs(self, window: &Window) -> Option<Sharing> {
        let Window { frame, lender, borrower, .. } = *window;
        let (owner, is_wrong) = match self {
            Self::Given(owner, kind) => (owner, is_wrong(kind, owner, lender, borrower)),
            Self::Quarantined => (Pid::NONE, false),
            Self::Free => (Pid::NONE, true),
        };
        is_wrong.then_some(Sharing { frame, owner, other: borrower })
    }
}

/// Whether a window is wrong on a frame that was given to `owner` as a frame of this kind, see the table above.
pub(crate) fn is_wrong(kind: Option<FrameKind>, owner: Pid, lender: Pid, borrower: Pid) -> bool {
    match kind {
        Some(kind) if kind.is_kernel() => true,
        Some(FrameKind::Shared) => borrower != owner,
        _ => lender != owner && borrower != owner,
    }
}

/// Everything that the trace has said about frames so far.
#[derive(Default)]
pub struct Ledger {
    /// By slot, whose the page tables with this root are.
    roots: BTreeMap<usize, (Pid, GuestPhys)>,
    windows: Vec<Window>,
    uses: BTreeMap<Frame, Use>,
    /// Wrong sharings that stand now, and the tick since which they do.
    standing: BTreeMap<Sharing, u32>,
    /// Those that an audit has had the chance to see.
    audited: BTreeSet<Sharing>,
    /// Those that stood at an audit though nothing was mapped there any more.
    wiped_out: BTreeSet<Sharing>,
    /// All that ever stood.
    ever: BTreeSet<Sharing>,
}

impl Ledger {
    /// A machine starts: nobody has anything.
    pub fn power_on(&mut self) {
        self.roots.clear();
        self.windows.clear();
        self.uses.clear();
        self.standing.clear();
    }

    /// Takes a record into account.
    pub fn apply(&mut self, record: &Record) {
        let (tick, frame) = (record.tick, Frame(record.b));
        match Kind::from_raw(record.kind) {
            Some(Kind::Spawn) => {
                self.roots.insert(record.pid.slot(), (record.pid, GuestPhys(record.c)));
            }
            Some(Kind::Given) => {
                let kind = u8::try_from(record.a).ok().and_then(FrameKind::from_raw);
                self.uses.insert(frame, Use::Given(record.pid, kind));
                self.settle(frame, tick);
            }
            Some(Kind::Freed) => {
                self.uses.insert(frame, if record.a == 0 { Use::Free } else { Use::Quarantined });
                self.settle(frame, tick);
            }
            // A page of shared state that its service has from before.
            Some(Kind::Attached) => {
                self.uses.insert(frame, Use::Given(record.pid, Some(FrameKind::Shared)));
                self.settle(frame, tick);
            }
            Some(Kind::Exit | Kind::Fault | Kind::Kill | Kind::Tagged | Kind::OutOfMemory) => {
                self.bereave(record.pid, tick);
            }
            Some(Kind::Epoch) => {
                let waiting = self.uses.iter_mut().filter(|(_, used)| **used == Use::Quarantined);
                waiting.for_each(|(_, used)| *used = Use::Free);
                let mut frames: Vec<_> = self.windows.iter().map(|window| window.frame).collect();
                frames.sort_unstable();
                frames.dedup();
                frames.into_iter().for_each(|frame| self.settle(frame, tick));
            }
            Some(Kind::Lend) => {
                let borrower = Pid(record.c as u32);
                self.windows.push(Window { loan: record.a, frame, lender: record.pid, borrower });
                self.settle(frame, tick);
            }
            Some(Kind::Teardown) => {
                let loan = record.a;
                let gone: Vec<_> = self.windows.extract_if(.., |window| window.loan == loan).collect();
                gone.into_iter().for_each(|window| self.settle(window.frame, tick));
            }
            _ => {}
        }
    }

    /// A process has ended. What it had for itself is freed, and the trace says so; what it shared with the kernel may stay.
    fn bereave(&mut self, pid: Pid, tick: u32) {
        const SHARED: Option<FrameKind> = Some(FrameKind::Shared);
        let shared = self.uses.iter_mut().filter(|(_, used)| **used == Use::Given(pid, SHARED));
        let left: Vec<_> = shared
            .map(|(frame, used)| {
                *used = Use::Given(Pid::NONE, SHARED);
                *frame
            })
            .collect();
        left.into_iter().for_each(|frame| self.settle(frame, tick));
    }

    /// Finds out anew which sharings of this frame are wrong. What was wrong before and still is keeps its tick.
    fn settle(&mut self, frame: Frame, tick: u32) {
        let used = self.uses.get(&frame);
        let windows = self.windows.iter().filter(|window| window.frame == frame);
        let wrong: Vec<_> = windows.filter_map(|window| used?.wrongs(window)).collect();
        let of_frame = Sharing { frame, owner: Pid(0), other: Pid(0) }..=Sharing {
            frame,
            owner: Pid(u32::MAX),
            other: Pid(u32::MAX),
        };
        let before: Vec<_> = self.standing.range(of_frame).map(|(sharing, _)| *sharing).collect();
        for sharing in before.iter().filter(|sharing| !wrong.contains(sharing)) {
            self.standing.remove(sharing);
        }
        for sharing in wrong {
            self.standing.entry(sharing).or_insert(tick);
            self.ever.insert(sharing);
        }
    }

    /// An audit looks now: what stands at this moment is what it should find, unless the window has been wiped out:
    /// `is_there` says of a root of page tables whether a window below it maps this frame. No event tells when it does not.
    pub fn audit(&mut self, is_there: impl Fn(GuestPhys, Frame) -> bool) {
        for sharing in self.standing.keys() {
            if self.audited.contains(sharing) {
                continue;
            }
            let root = self.roots.get(&sharing.other.slot()).filter(|(pid, _)| *pid == sharing.other);
            if root.is_none_or(|(_, root)| is_there(*root, sharing.frame)) {
                self.wiped_out.remove(sharing);
                self.audited.insert(*sharing);
            } else {
                self.wiped_out.insert(*sharing);
            }
        }
    }

    /// Whether this sharing has stood at an audit.
    pub fn confirms(&self, sharing: &Sharing) -> bool {
        self.audited.contains(sharing)
    }

    /// The tick since which this sharing has stood without a break, if it stands now.
    pub fn since(&self, sharing: &Sharing) -> Option<u32> {
        self.standing.get(sharing).copied()
    }

    /// To whom the trace last gave this frame; nobody, if it was taken back. `None` if the trace has never said.
    pub fn owner(&self, frame: Frame) -> Option<Pid> {
        self.uses.get(&frame).map(|used| match used {
            Use::Given(owner, _) => *owner,
            Use::Quarantined | Use::Free => Pid::NONE,
        })
    }

    /// Sharings that stood at an audit.
    pub fn actual(&self) -> u64 {
        self.audited.len() as u64
    }

    /// Sharings that stood at audits, but by a window that was there no more.
    pub fn wiped_out(&self) -> u64 {
        self.wiped_out.len() as u64
    }

    /// Sharings that came and went between two audits.
    pub fn unseen(&self) -> u64 {
        self.ever.len() as u64 - self.actual() - self.wiped_out()
    }
}

/// Whether a page in the area of windows below `root` is mapped to this frame for ring 3.
pub fn window_maps<M: PhysicalMemory + ?Sized>(memory: &M, root: GuestPhys, frame: Frame) -> bool {
    (USER_WINDOWS..USER_WINDOWS_END).step_by(PAGE_SIZE as usize).any(|at| {
        let found = Paging::default().translate(memory, root, GuestVirt(at));
        found.is_ok_and(|found| found.mapping.rights.user && found.phys.frame() == frame)
    })
}

#[cfg(test)]
mod tests;
