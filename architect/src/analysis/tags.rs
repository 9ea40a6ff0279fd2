//! Tags: whom the guest's intrusion detection took for a violator, held against what the trace says he did.
//!
//! The trace is the truth: a violation is a system call that was refused because the caller may not make it, or
//! because it speaks to somebody who never was there. To ask for a server that is no more is none, and neither is an answer
//! to somebody who has asked and is gone. Whoever has enough violations before his tag was tagged rightly.

use std::collections::{BTreeMap, BTreeSet};

use abi::Pid;
use abi::syscall::{Call, Error};
use abi::trace::{Kind, Record};
use serde_json::{Value, json};

/// Violations of its own that a process must have had for its tag to be right.
const ENOUGH: u32 = 3;
/// Most that is remembered of who has sent messages to whom.
const MOST: usize = 1 << 16;

/// All tags of a run.
#[derive(Debug, Default)]
pub struct Tags {
    violations: BTreeMap<Pid, u32>,
    tagged: BTreeSet<Pid>,
    /// Ports at which messages or datagrams have arrived.
    served: BTreeSet<u32>,
    /// Who has sent a message to whom.
    asked: BTreeSet<(Pid, Pid)>,
    /// Tags of processes that had violated something.
    pub true_positives: u64,
    /// Tags of processes that had not.
    pub false_positives: u64,
}

impl Tags {
    /// A machine starts: nobody has done anything.
    pub fn power_on(&mut self) {
        self.violations.clear();
        self.tagged.clear();
        self.served.clear();
        self.asked.clear();
    }

    /// Takes a record into account. Says whether it was a tag without a reason.
    pub fn apply(&mut self, record: &Record) -> bool {
        match Kind::from_raw(record.kind) {
            Some(Kind::Send | Kind::Datagram) if self.asked.len() < MOST => {
                self.served.insert(record.a);
                self.asked.insert((record.pid, Pid(record.b as u32)));
            }
            Some(Kind::Refused) if is_violation(record.b) && !self.is_late(record) => {
                *self.violations.entry(record.pid).or_default() += 1;
            }
            Some(Kind::Tagged) => {
                self.tagged.insert(record.pid);
                let right = self.violations(record.pid) >= ENOUGH;
                let counter = if right { &mut self.true_positives } else { &mut self.false_positives };
                *counter += 1;
                return !right;
            }
            _ => {}
        }
        false
    }

    /// Whether a refused call was in order as long as the one whom it speaks to was there.
    fn is_late(&self, record: &Record) -> bool {
        let subject = record.c as u32;
        match (Call::from_raw(record.a.into()), Error::from_raw(record.b)) {
            (Some(Call::Call | Call::Post), Some(Error::NotFound | Error::Dead)) => {
                self.served.contains(&subject)
            }
            (Some(Call::Reply), Some(Error::Dead)) => self.asked.contains(&(Pid(subject), record.pid)),
            _ => false,
        }
    }

    /// Whether this process was tagged in this incarnation.
    pub fn has(&self, pid: Pid) -> bool {
        self.tagged.contains(&pid)
    }

    /// Violations of this process so far in this incarnation.
    pub fn violations(&self, pid: Pid) -> u32 {
        self.violations.get(&pid).copied().unwrap_or(0)
    }

    /// The part of the verdict.
    pub fn to_json(&self) -> Value {
        json!({
            "tagged": self.true_positives + self.false_positives,
            "true_positives": self.true_positives,
            "false_positives": self.false_positives,
        })
    }
}

/// Whether a process has ended by itself, and badly: by a fault of its own, or with a status other than 0.
pub(crate) fn ended_badly(record: &Record) -> bool {
    match Kind::from_raw(record.kind) {
        Some(Kind::Fault) => true,
        Some(Kind::Exit) => record.a != 0,
        _ => false,
    }
}

/// Whether who is refused with this error has done something. To run out of time, memory or luck is no crime.
fn is_violation(error: u64) -> bool {
    !matches!(Error::from_raw(error), Some(Error::TimedOut | Error::Exhausted | Error::Interrupted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Pid = Pid::new(1, 0);
    const BAD: Pid = Pid::new(2, 0);

    fn refused(pid: Pid, error: Error) -> Record {
        Record { kind: Kind::Refused as u16, pid, a: 3, b: error as u64, ..Record::default() }
    }

    fn tag(pid: Pid) -> Record {
        Record { kind: Kind::Tagged as u16, pid, a: 1, ..Record::default() }
    }

    fn judged(records: &[Record]) -> (u64, u64) {
        let mut tags = Tags::default();
        let wrong = records.iter().filter(|record| tags.apply(record)).count() as u64;
        assert_eq!(wrong, tags.false_positives);
        (tags.true_positives, tags.false_positives)
    }

    #[test]
    fn a_tag_is_right_if_its_process_has_violated_often_enough_before() {
        let crime = refused(BAD, Error::NotFound);
        assert_eq!(judged(&[crime, crime, crime, tag(BAD)]), (1, 0));
        assert_eq!(judged(&[crime, crime, tag(BAD), crime]), (0, 1));
        assert_eq!(judged(&[crime, crime, crime, tag(GOOD)]), (0, 1), "another's violations do not count");
    }

    #[test]
    fn who_asks_for_a_server_that_is_gone_or_answers_too_late_has_violated_nothing() {
        let refused = |call: Call, error: Error, first: u64| Record {
            a: call as u32,
            c: first,
            ..refused(GOOD, error)
        };
        let sent = |from: Pid, to: Pid, port: u32| Record {
            kind: Kind::Send as u16,
            pid: from,
            a: port,
            b: to.0.into(),
            ..Record::default()
        };
        let gone = refused(Call::Call, Error::NotFound, 2000);
        let late = refused(Call::Reply, Error::Dead, BAD.0.into());
        for crime in [gone, late] {
            assert_eq!(judged(&[crime, crime, crime, tag(GOOD)]), (1, 0));
            assert_eq!(judged(&[sent(BAD, GOOD, 2000), crime, crime, crime, tag(GOOD)]), (0, 1));
            assert_eq!(judged(&[sent(GOOD, BAD, 2001), crime, crime, crime, tag(GOOD)]), (1, 0));
        }
    }

    #[test]
    fn bad_luck_is_no_violation() {
        for error in [Error::TimedOut, Error::Exhausted, Error::Interrupted] {
            let luck = refused(GOOD, error);
            assert_eq!(judged(&[luck, luck, luck, luck, tag(GOOD)]), (0, 1));
        }
    }

    #[test]
    fn a_new_incarnation_has_no_past() {
        let mut tags = Tags::default();
        let crime = refused(BAD, Error::Denied);
        assert!(!tags.apply(&crime) && !tags.apply(&crime) && !tags.apply(&crime));
        tags.apply(&tag(BAD));
        assert!(tags.has(BAD));
        tags.power_on();
        assert!(!tags.has(BAD));
        assert!(tags.apply(&tag(BAD)), "the same pid is somebody else now");
        assert_eq!((tags.true_positives, tags.false_positives), (1, 1), "what was counted stays");
    }
}
