//! How good the detection is: what audits found against the ledger, how long it took, and what came of it.
//!
//! *Latency*: an audit takes place at the doorbell that begins a tick, and sees what the tick before has left. Its
//! latency is from the tick in which a sharing began, by the ledger, to the tick that it has seen the end of: 0 if no
//! earlier audit could have found it.
//!
//! *Exposure*: from there to the first write through the mapping that should not be. No event tells of it, since nothing
//! enters the kernel for it; the dirty flag of the mapping's own page-table entry does, which the processor sets
//! when it writes through this entry (Intel SDM vol. 3, 4.8). A flag that was set already when the sharing was
//! found may be from the time when the window was in order, so nothing is made of it. Of reads there is no such witness:
//! the accessed flag may be set without one. The flag is read for this figure alone; it decides nothing and is in no event.
//!
//! *Beyond the ledger*: the ledger knows loans, and where there is no window there is no loan. What is found behind a
//! kernel's object, or by an entry where no window can be (a page table that was written over), it can neither confirm nor
//! deny; these are counted by themselves.
//!
//! *Wiped out*: a window that a late write has wiped out of its page table shares nothing any more, and no event says so.
//! Such a sharing is no audit's to find; see [`crate::analysis::ledger`].

use std::collections::BTreeSet;

use abi::{Frame, GuestPhys, GuestVirt};
use introspect::x86::memory::PhysicalMemory;
use introspect::x86::paging::bits::{ADDRESS, DIRTY, PRESENT};
use serde_json::{Value, json};

use crate::analysis::ledger::{Ledger, Sharing};

/// Detection against the ledger, for a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detection {
    /// Wrong sharings that audits found.
    pub detected: u64,
    /// Wrong sharings that stood at an audit, by the ledger.
    pub actual: u64,
    /// Those in both.
    pub true_positives: u64,
    /// Wrong sharings that came and went between two audits.
    pub between_audits: u64,
    /// Wrong sharings that stood at audits, by the ledger, but whose window was there no more.
    pub wiped_out: u64,
    /// What audits found besides, of which the ledger cannot know.
    pub beyond: u64,
    /// For each in both, ticks from its beginning to its detection.
    pub latency: Spread,
    /// For each that was written through after its detection, ticks from there to the first write.
    pub exposure: Spread,
    /// Sharings whose window had been written through by the time of their detection.
    pub written_before: u64,
}

impl Detection {
    /// The part of the verdict.
    pub fn to_json(&self) -> Value {
        let part = |of: u64| (of > 0).then(|| self.true_positives as f64 / of as f64);
        json!({
            "detected": self.detected,
            "actual": self.actual,
            "true_positives": self.true_positives,
            "precision": part(self.detected),
            "recall": part(self.actual),
            "between_audits": self.between_audits,
            "wiped_out": self.wiped_out,
            "beyond_ledger": self.beyond,
            "detection_latency_ticks": self.latency.to_json(),
            "exposure_ticks": self.exposure.to_json(),
            "written": self.exposure.count,
            "written_before_detection": self.written_before,
        })
    }
}

/// How some numbers of ticks are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many numbers.
    pub count: u64,
    /// The one in the middle; of two in the middle the smaller.
    pub median: u64,
    /// The largest.
    pub max: u64,
}

impl Spread {
    fn of(mut ticks: Vec<u64>) -> Self {
        ticks.sort_unstable();
        let Some(&max) = ticks.last() else { return Self::default() };
        Self { count: ticks.len() as u64, median: ticks[(ticks.len() - 1) / 2], max }
    }

    /// Null if there is no number.
    fn to_json(self) -> Value {
        if self.count == 0 { Value::Null } else { json!({"median": self.median, "max": self.max}) }
    }
}

/// A mapping that should not be and has not been written through since it was found.
struct Watch {
    sharing: Sharing,
    virt: GuestVirt,
    entry: GuestPhys,
    /// The audit's tick.
    found: u64,
}

/// A write through a mapping that should not be, after it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Whose frame, and who wrote.
    pub sharing: Sharing,
    /// Where the writer has the frame.
    pub virt: GuestVirt,
    /// The page-table entry that it wrote through.
    pub entry: GuestPhys,
    /// The audit that found the mapping, and the first that saw the write: ticks.
    pub found: u64,
    /// As said.
    pub seen: u64,
}

/// What audits have found in a run.
#[derive(Default)]
pub struct Detector {
    /// Through windows.
    found: BTreeSet<Sharing>,
    /// By other ways.
    beyond: BTreeSet<Sharing>,
    latencies: Vec<u64>,
    watches: Vec<Watch>,
    exposures: Vec<u64>,
    written_before: u64,
    /// Of the present incarnation.
    writes: Vec<Write>,
}

impl Detector {
    /// A machine starts: nothing is mapped.
    pub fn power_on(&mut self) {
        self.watches.clear();
        self.writes.clear();
    }

    /// The writes of this incarnation through mappings that had been found, in the order in which they were seen.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Wrong sharings that were found, by whatever way.
    pub fn count(&self) -> usize {
        self.found.len() + self.beyond()
    }

    /// Those of them to which no window leads.
    fn beyond(&self) -> usize {
        self.beyond.difference(&self.found).count()
    }

    /// An audit has found this sharing, and no window leads to it.
    pub fn found_beyond_the_ledger(&mut self, sharing: Sharing) {
        self.beyond.insert(sharing);
    }

    /// An audit at tick `now`, at the end of tick `ended`, has found this sharing through a window. Its process can write through
    /// the pages and page-table entries in `writable`.
    pub fn found<M: PhysicalMemory + ?Sized>(
        &mut self,
        sharing: Sharing,
        writable: impl Iterator<Item = (GuestVirt, GuestPhys)> + Clone,
        (ended, now): (u64, u64),
        ledger: &Ledger,
        memory: &M,
    ) {
        if !self.found.insert(sharing) {
            return;
        }
        if let Some(since) = ledger.since(&sharing) {
            self.latencies.push(ended.saturating_sub(since.into()));
        }
        if writable.clone().any(|(_, entry)| look(memory, entry, sharing.frame) == Some(true)) {
            self.written_before += 1;
        } else {
            self.watches.extend(writable.map(|(virt, entry)| Watch { sharing, virt, entry, found: now }));
        }
    }

    /// Looks at tick `now` whether what was found has been written through since.
    pub fn look<M: PhysicalMemory + ?Sized>(&mut self, now: u64, ledger: &Ledger, memory: &M) {
        let mut written = Vec::new();
        for &Watch { sharing, virt, entry, found } in &self.watches {
            if look(memory, entry, sharing.frame) == Some(true) && !written.contains(&sharing) {
                written.push(sharing);
                self.exposures.push(now.saturating_sub(found));
                self.writes.push(Write { sharing, virt, entry, found, seen: now });
            }
        }
        // One that has been taken down, or whose frame is nobody's any more, will not be written through.
        self.watches.retain(|Watch { sharing, entry, .. }| {
            !written.contains(sharing)
                && ledger.since(sharing).is_some()
                && look(memory, *entry, sharing.frame).is_some()
        });
    }

    /// The result, against what the ledger knows.
    pub fn against(self, ledger: &Ledger) -> Detection {
        Detection {
            detected: self.found.len() as u64,
            actual: ledger.actual(),
            true_positives: self.found.iter().filter(|sharing| ledger.confirms(sharing)).count() as u64,
            between_audits: ledger.unseen(),
            wiped_out: ledger.wiped_out(),
            beyond: self.beyond() as u64,
            latency: Spread::of(self.latencies),
            exposure: Spread::of(self.exposures),
            written_before: self.written_before,
        }
    }
}

/// Whether this entry's dirty flag is set; `None` if it does not map the frame any more.
fn look<M: PhysicalMemory + ?Sized>(memory: &M, entry: GuestPhys, frame: Frame) -> Option<bool> {
    let value = memory.read_u64(entry).ok()?;
    let maps = value & PRESENT != 0 && GuestPhys(value & ADDRESS).frame() == frame;
    maps.then_some(value & DIRTY != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::Pid;
    use abi::frame::FrameKind;
    use abi::trace::{Kind, Record};

    const OWNER: Pid = Pid::new(3, 0);
    const OTHER: Pid = Pid::new(2, 0);
    const SHARING: Sharing = Sharing { frame: Frame(9), owner: OWNER, other: OTHER };
    const PAGE: GuestVirt = GuestVirt(0x60_0000);
    const ENTRY: GuestPhys = GuestPhys(64);
    const MAPS: u64 = 9 << 12 | PRESENT;

    fn record(kind: Kind, tick: u32, pid: Pid, a: u32, b: u64, c: u64) -> Record {
        Record { tick, kind: kind as u16, reserved: 0, pid, a, b, c }
    }

    /// A window on frame 9 that is wrong from tick 5 on.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.apply(&record(Kind::Lend, 1, Pid::new(1, 0), 1, 9, u64::from(OTHER.0)));
        ledger.apply(&record(Kind::Given, 5, OWNER, FrameKind::User as u32, 9, 2));
        ledger.audit(|_, _| true);
        ledger
    }

    fn memory(entry: u64) -> Vec<u8> {
        let mut memory = vec![0; 4096];
        memory[64..72].copy_from_slice(&entry.to_le_bytes());
        memory
    }

    fn found(detector: &mut Detector, at: (u64, u64), ledger: &Ledger, entry: u64) {
        detector.found(SHARING, [(PAGE, ENTRY)].into_iter(), at, ledger, &*memory(entry));
    }

    #[test]
    fn rates_and_times_of_nothing_are_null() {
        let none = Detection::default().to_json();
        for key in ["precision", "recall", "detection_latency_ticks", "exposure_ticks"] {
            assert!(none[key].is_null(), "{key}");
        }
        let half = Detection { detected: 1, actual: 2, true_positives: 1, ..Detection::default() }.to_json();
        assert_eq!((half["precision"].as_f64(), half["recall"].as_f64()), (Some(1.0), Some(0.5)));
    }

    #[test]
    fn the_first_audit_that_could_see_it_has_latency_nought() {
        for (at, latency) in [((5, 6), 0), ((5, 40), 0), ((6, 7), 1), ((13, 14), 8)] {
            let (mut detector, ledger) = (Detector::default(), ledger());
            found(&mut detector, at, &ledger, MAPS);
            // A second time does not count.
            found(&mut detector, (50, 51), &ledger, MAPS);
            let detection = detector.against(&ledger);
            assert_eq!(detection.latency, Spread { count: 1, median: latency, max: latency });
            assert_eq!((detection.detected, detection.actual, detection.true_positives), (1, 1, 1));
        }
    }

    #[test]
    fn the_first_write_after_detection_is_seen_once() {
        let (mut detector, ledger) = (Detector::default(), ledger());
        found(&mut detector, (5, 6), &ledger, MAPS);
        detector.look(8, &ledger, &*memory(MAPS));
        detector.look(13, &ledger, &*memory(MAPS | DIRTY));
        detector.look(14, &ledger, &*memory(MAPS | DIRTY));
        let write = Write { sharing: SHARING, virt: PAGE, entry: ENTRY, found: 6, seen: 13 };
        assert_eq!(detector.writes(), [write]);
        let detection = detector.against(&ledger);
        assert_eq!(detection.exposure, Spread { count: 1, median: 7, max: 7 });
        assert_eq!(detection.written_before, 0);
    }

    #[test]
    fn what_was_written_before_or_is_gone_has_no_exposure() {
        let ledger = ledger();
        let mut detector = Detector::default();
        found(&mut detector, (5, 6), &ledger, MAPS | DIRTY);
        detector.look(8, &ledger, &*memory(MAPS | DIRTY));
        assert_eq!(detector.against(&ledger).written_before, 1);

        // Another frame at the place, nothing at the place, or a place that is no memory.
        let mut short = memory(0);
        short.truncate(64);
        for gone in [memory(MAPS + 4096), memory(MAPS & !PRESENT), short] {
            let mut detector = Detector::default();
            found(&mut detector, (5, 6), &ledger, MAPS);
            detector.look(8, &ledger, &*gone);
            detector.look(9, &ledger, &*memory(MAPS | DIRTY));
            let detection = detector.against(&ledger);
            assert_eq!((detection.exposure.count, detection.written_before), (0, 0));
        }
        // The owner has given the frame back: a write harms nobody.
        let mut detector = Detector::default();
        found(&mut detector, (5, 6), &ledger, MAPS);
        detector.look(8, &Ledger::default(), &*memory(MAPS));
        detector.look(9, &ledger, &*memory(MAPS | DIRTY));
        assert_eq!(detector.against(&ledger).exposure.count, 0);
    }

    #[test]
    fn what_no_window_leads_to_counts_neither_for_nor_against() {
        let (mut detector, ledger) = (Detector::default(), ledger());
        let elsewhere = Sharing { frame: Frame(1), ..SHARING };
        found(&mut detector, (5, 6), &ledger, MAPS);
        detector.found_beyond_the_ledger(elsewhere);
        // The same sharing by a window as well is the window's.
        detector.found_beyond_the_ledger(SHARING);
        assert_eq!(detector.count(), 2);
        let detection = detector.against(&ledger);
        assert_eq!((detection.detected, detection.true_positives, detection.beyond), (1, 1, 1));
    }

    #[test]
    fn the_middle_of_an_even_number_is_the_smaller() {
        assert_eq!(Spread::of(vec![9, 1, 4, 2]), Spread { count: 4, median: 2, max: 9 });
        assert_eq!(Spread::of(vec![7]), Spread { count: 1, median: 7, max: 7 });
        assert_eq!(Spread::of(vec![]), Spread::default());
    }
}
