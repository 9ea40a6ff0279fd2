//! The ledger: the second source of truth. From the trace alone (who was given which frame, which window was opened on
//! it and when it was taken down) it knows which sharings are wrong, without looking at a page table.
//!
//! An audit's findings are held against it: precision and recall.

use std::collections::BTreeSet;

use abi::trace::{Kind, Record};
use abi::{Frame, Pid};

/// A frame within reach of somebody who has no right to it: the frame, who owns it, who else reaches it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sharing {
    /// The frame.
    pub frame: Frame,
    /// To whom it was given.
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

/// Everything that the trace has said about frames so far.
#[derive(Default)]
pub struct Ledger {
    windows: Vec<Window>,
    /// Wrong sharings that stand now.
    standing: BTreeSet<Sharing>,
    /// Those that an audit has had the chance to see.
    audited: BTreeSet<Sharing>,
    /// All that ever stood.
    ever: BTreeSet<Sharing>,
}

impl Ledger {
    /// A machine starts: nobody has anything.
    pub fn power_on(&mut self) {
        self.windows.clear();
        self.standing.clear();
    }

    /// Takes a record into account.
    pub fn apply(&mut self, record: &Record) {
        match Kind::from_raw(record.kind) {
            Some(Kind::Given) => self.give(Frame(record.b), record.pid),
            Some(Kind::Freed) => {
                self.standing.retain(|sharing| sharing.frame != Frame(record.b));
            }
            Some(Kind::Lend) => {
                let borrower = Pid(record.c as u32);
                self.windows.push(Window {
                    loan: record.a,
                    frame: Frame(record.b),
                    lender: record.pid,
                    borrower,
                });
            }
            Some(Kind::Teardown) => {
                let loan = record.a;
                self.windows.retain(|window| window.loan != loan);
                let windows = &self.windows;
                self.standing.retain(|sharing| {
                    windows.iter().any(|w| w.frame == sharing.frame && w.borrower == sharing.other)
                });
            }
            _ => {}
        }
    }

    fn give(&mut self, frame: Frame, owner: Pid) {
        for window in self.windows.iter().filter(|window| window.frame == frame) {
            if window.lender != owner {
                let sharing = Sharing { frame, owner, other: window.borrower };
                self.standing.insert(sharing);
                self.ever.insert(sharing);
            }
        }
    }

    /// An audit looks now: what stands at this moment is what it should find.
    pub fn audit(&mut self) {
        self.audited.extend(&self.standing);
    }

    /// Whether this sharing has stood at an audit.
    pub fn confirms(&self, sharing: &Sharing) -> bool {
        self.audited.contains(sharing)
    }

    /// Sharings that stood at an audit.
    pub fn actual(&self) -> u64 {
        self.audited.len() as u64
    }

    /// Sharings that came and went between two audits.
    pub fn unseen(&self) -> u64 {
        self.ever.difference(&self.audited).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::frame::FrameKind;

    const A: Pid = Pid::new(1, 0);
    const B: Pid = Pid::new(2, 0);
    const C: Pid = Pid::new(3, 0);

    fn record(kind: Kind, pid: Pid, a: u32, b: u64, c: u64) -> Record {
        Record { tick: 0, kind: kind as u16, reserved: 0, pid, a, b, c }
    }

    fn lent() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.apply(&record(Kind::Given, A, FrameKind::User as u32, 9, 0));
        ledger.apply(&record(Kind::Lend, A, 1, 9, u64::from(B.0)));
        ledger
    }

    #[test]
    fn a_frame_given_on_while_a_window_stands_is_shared_wrongly() {
        let mut ledger = lent();
        ledger.apply(&record(Kind::Freed, A, 1, 9, 1));
        ledger.audit();
        assert_eq!(ledger.actual(), 0);
        ledger.apply(&record(Kind::Given, C, FrameKind::User as u32, 9, 2));
        ledger.audit();
        assert!(ledger.confirms(&Sharing { frame: Frame(9), owner: C, other: B }));
        assert_eq!((ledger.actual(), ledger.unseen()), (1, 0));
    }

    #[test]
    fn a_window_that_is_gone_harms_nobody() {
        let mut ledger = lent();
        ledger.apply(&record(Kind::Freed, A, 1, 9, 1));
        ledger.apply(&record(Kind::Teardown, B, 1, 0, 0));
        ledger.apply(&record(Kind::Given, C, FrameKind::User as u32, 9, 1));
        ledger.audit();
        assert_eq!((ledger.actual(), ledger.unseen()), (0, 0));
    }

    #[test]
    fn what_comes_and_goes_between_two_audits_is_counted_apart() {
        let mut ledger = lent();
        ledger.apply(&record(Kind::Freed, A, 1, 9, 1));
        ledger.apply(&record(Kind::Given, C, FrameKind::User as u32, 9, 2));
        ledger.apply(&record(Kind::Teardown, B, 1, 0, 0));
        ledger.audit();
        assert_eq!((ledger.actual(), ledger.unseen()), (0, 1));
    }

    #[test]
    fn the_lender_itself_may_get_its_frame_again() {
        let mut ledger = lent();
        ledger.apply(&record(Kind::Given, A, FrameKind::User as u32, 9, 2));
        ledger.audit();
        assert_eq!(ledger.actual(), 0);
    }
}
