//! [`Watchers`]: the one place from which every record is passed on.

use abi::process::Descriptor;
use abi::trace::{Kind, Record};
use abi::{Frame, GuestPhys, Pid};
use introspect::Changed;
use introspect::x86::memory::PhysicalMemory;
use vmm::host::memory::GuestMemory;

use crate::analysis::detection::Detector;
use crate::analysis::hidden::HiddenSpaces;
use crate::analysis::ledger::Ledger;
use crate::analysis::tags::{Tags, ended_badly};
use crate::beats::Beats;
use crate::experiment::incarnation::Incarnation;
use crate::experiment::laboratory::Compare;
use crate::faults::digest::Account;
use crate::faults::injector::Injector;
use crate::faults::unread::Unread;
use crate::report::postmortem::History;
use crate::scenario::{Clock, Scenario};
use crate::terms::Outcome;
use crate::trace::events::Events;
use crate::verdict::Tally;

/// What sees the records and audits of a run.
pub(in crate::experiment) struct Watchers<'a> {
    pub(in crate::experiment) events: Events<'a>,
    pub(in crate::experiment) ledger: Ledger,
    pub(in crate::experiment) beats: Beats,
    pub(in crate::experiment) tags: Tags,
    pub(in crate::experiment) detector: Detector,
    pub(in crate::experiment) hidden: HiddenSpaces,
    pub(in crate::experiment) history: History,
    pub(in crate::experiment) tally: Tally,
    pub(in crate::experiment) injector: Injector,
    /// The run in a few numbers, where others are compared with it.
    pub(in crate::experiment) account: Option<Account>,
    /// The state that is never read, where the run is watched for that.
    pub(in crate::experiment) unread: Option<Unread>,
    /// What was written since the last audit; kept for its allocation.
    pub(super) changed: Changed,
    pub(super) incarnation: u32,
}

impl<'a> Watchers<'a> {
    /// The watchers of a run that has not started.
    pub(in crate::experiment) fn new(
        scenario: &Scenario,
        compare: Compare<'_>,
        mut events: Events<'a>,
    ) -> Self {
        if scenario.vm.clock == Clock::Apic {
            events.leave_repeatable_time();
        }
        let watched = matches!(compare, Compare::Watched);
        Self {
            events,
            ledger: Ledger::default(),
            beats: Beats::default(),
            tags: Tags::default(),
            detector: Detector::default(),
            hidden: HiddenSpaces::default(),
            history: History::default(),
            tally: Tally::default(),
            injector: Injector::default(),
            account: compare.needs_digest().then(Account::default),
            unread: watched.then(|| Unread::new(scenario.vm.memory_mib)),
            changed: Changed::nothing(),
            incarnation: 0,
        }
    }

    /// The next incarnation starts: nothing of the last one stands any more. Returns its number.
    pub(in crate::experiment) fn power_on(&mut self, seed: u64) -> u32 {
        self.incarnation += 1;
        self.note(Kind::Start, 0, Pid::NONE, [self.incarnation.into(), seed, 0]);
        self.ledger.power_on();
        self.detector.power_on();
        self.tags.power_on();
        self.incarnation
    }

    /// Hands a record to every watcher, once. `descriptor` finds the process of a record in the guest's
    /// memory. Returns whether a healthy guest does not have such a record.
    pub(in crate::experiment) fn record(
        &mut self,
        record: &Record,
        descriptor: impl Fn(Pid) -> Option<Descriptor>,
    ) -> bool {
        self.events.push(*record);
        if let Some(account) = &mut self.account {
            account.record(record);
        }
        if let Some(unread) = &mut self.unread {
            unread.record(record);
        }
        self.injector.record(record, descriptor);
        self.ledger.apply(record);
        self.beats.event(record);
        self.history.event(record);
        let wrong_tag = self.tags.apply(record);
        let kind = Kind::from_raw(record.kind);
        // Exits of tagged processes are not counted.
        let crashed = ended_badly(record) && !self.tags.has(record.pid);
        let damaged = kind == Some(Kind::Damaged);
        self.tally.crashes += u64::from(crashed);
        self.tally.damaged += u64::from(damaged);
        crashed || damaged || wrong_tag || kind == Some(Kind::Nmi)
    }

    /// Records an event of the VMM's own.
    pub(in crate::experiment) fn note(&mut self, kind: Kind, tick: u64, pid: Pid, [a, b, c]: [u64; 3]) {
        let record = Record { tick: tick as u32, kind: kind as u16, reserved: 0, pid, a: a as u32, b, c };
        self.record(&record, |_| None);
    }

    /// Hands the guest's new records to every watcher.
    pub(in crate::experiment) fn drain(&mut self, guest: &mut Incarnation) {
        let Some(observer) = &mut guest.observer else { return };
        let (memory, table) = (guest.machine.memory(), observer.process_table());
        let mut blemishes = 0;
        observer.drain(memory, |record| {
            blemishes += u64::from(self.record(record, |pid| descriptor(memory, table, pid)));
        });
        self.beats.traced(memory);
        guest.add_blemishes(blemishes);
    }

    /// The outcome of a run that has lasted to its last tick.
    pub(in crate::experiment) fn outcome_of_lasting(&self) -> Outcome {
        let wrong = self.detector.count() + self.hidden.found;
        self.tally.lasted(wrong, self.tags.false_positives)
    }
}

/// The descriptor of a process, as the process table has it now.
fn descriptor(memory: &GuestMemory, table: GuestPhys, pid: Pid) -> Option<Descriptor> {
    let slot = table.add(pid.slot() as u64 * size_of::<u32>() as u64);
    let frame = Frame(memory.read_value::<u32>(slot).ok()?.into());
    let descriptor = memory.read_value::<Descriptor>(frame.base()).ok()?;
    (frame.0 != 0 && descriptor.pid == pid).then_some(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::places::Places;

    fn watchers(compare: Compare<'_>) -> Watchers<'static> {
        let text = include_str!("../../../../scenarios/healthy.toml");
        let scenario = Scenario::parse(text, "healthy.toml", None, &[]).unwrap();
        Watchers::new(&scenario, compare, Events::new(None, Places::default()))
    }

    fn record(kind: Kind, a: u32) -> Record {
        Record { tick: 1, kind: kind as u16, reserved: 0, pid: Pid(0x101), a, b: 0, c: 0 }
    }

    #[test]
    fn each_record_is_passed_on_once_and_blemishes_are_counted() {
        let mut watchers = watchers(Compare::Golden);
        let story = |watchers: &Watchers<'_>| watchers.account.as_ref().map(Account::story);
        let mut before = story(&watchers);
        let records = [
            (Kind::Spawn, 0, false),
            (Kind::Damaged, 0, true),
            (Kind::Exit, 0, false),
            (Kind::Exit, 9, true),
        ];
        for ((kind, a, is_blemish), count) in records.into_iter().zip(1..) {
            assert_eq!(watchers.record(&record(kind, a), |_| None), is_blemish, "{kind:?} {a}");
            assert_eq!(watchers.events.count(), count);
            assert_ne!(story(&watchers), before, "the account sees it, too");
            before = story(&watchers);
        }
        assert_eq!((watchers.tally.damaged, watchers.tally.crashes), (1, 1));
    }

    #[test]
    fn incarnations_are_numbered_and_start_without_the_last_ones_tags() {
        let mut watchers = watchers(Compare::Nothing);
        assert_eq!(watchers.power_on(6), 1);
        assert!(watchers.record(&record(Kind::Tagged, 0), |_| None), "a tag without a violation");
        assert!(watchers.tags.has(Pid(0x101)));
        assert_eq!(watchers.power_on(6), 2);
        assert!(!watchers.tags.has(Pid(0x101)));
        assert_eq!(watchers.events.count(), 3, "two starts and the tag");
    }
}
