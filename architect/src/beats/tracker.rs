//! Which beats a run has reached: hands every record and every audit to the detectors whose beat is still open.
//!
//! `load`, `nmi` and the beats of findings are detected here.

use std::collections::BTreeMap;

use abi::trace::{Kind, Record};
use introspect::matrix::guest::Guest;
use introspect::matrix::policy::Finding;
use introspect::x86::memory::PhysicalMemory;
use serde_json::{Value, json};

use super::detector::{Detector, View};
use super::finding::evidence;
use super::known::Known;
use super::{
    assimilation, berserk, duel, entangled, false_tags, ipc_damage, kernel_context, killed_mid_syscall,
    scheduler_attacked, the_one, two_left,
};
use crate::analysis::ledger::Ledger;
use crate::terms::Beat;
use crate::trace::events::pid;
use crate::trace::places::Places;

/// A beat that was reached: where in time, and the proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached {
    /// Virtual time in its incarnation.
    pub tick: u64,
    /// The proof: processes, frames, addresses.
    pub evidence: Value,
}

macro_rules! detectors {
    ($($field:ident: $type:ty => $beat:ident,)+) => {
        /// The detectors of one incarnation.
        #[derive(Default)]
        struct Detectors { $($field: $type,)+ }

        impl Detectors {
            fn all(&mut self) -> [(Beat, &mut dyn Detector); DETECTORS] {
                [$((Beat::$beat, &mut self.$field),)+]
            }
        }

        const DETECTORS: usize = [$(Beat::$beat,)+].len();
    };
}

detectors! {
    ipc_damage: ipc_damage::IpcDamage => IpcDamage,
    berserk: berserk::Berserk => Berserk,
    killed_mid_syscall: killed_mid_syscall::KilledMidSyscall => KilledMidSyscall,
    kernel_context: kernel_context::KernelContext => KernelContext,
    false_tags: false_tags::FalseTags => FalseTags,
    assimilation: assimilation::Assimilation => Assimilation,
    the_one: the_one::TheOne => TheOne,
    entangled: entangled::Entangled => Entangled,
    duel: duel::Duel => Duel,
    scheduler_attacked: scheduler_attacked::SchedulerAttacked => SchedulerAttacked,
    two_left: two_left::TwoLeft => TwoLeft,
}

/// Looks for beats.
#[derive(Default)]
pub struct Beats {
    reached: BTreeMap<Beat, Reached>,
    /// The tick at which the watchdog's first stage expired, while nothing has come of it.
    expired: Option<u32>,
    /// The handler's frame.
    handled: Option<Record>,
    incarnation: u32,
    known: Known,
    detectors: Detectors,
}

impl Beats {
    /// Processes alive at which the load counts as high.
    pub const HIGH_ALIVE: u32 = 16;
    /// The part of all frames that must still be free; below, memory counts as short.
    pub const SHORT_OF_FRAMES: u32 = 32;

    /// The beats reached so far.
    pub fn reached(&self) -> &BTreeMap<Beat, Reached> {
        &self.reached
    }

    fn reach(&mut self, beat: Beat, tick: u64, evidence: impl FnOnce(u32) -> Value) {
        let incarnation = self.incarnation;
        self.reached.entry(beat).or_insert_with(|| Reached { tick, evidence: evidence(incarnation) });
    }

    /// Looks at an event.
    pub fn event(&mut self, record: &Record) {
        match Kind::from_raw(record.kind) {
            Some(Kind::Start) => {
                self.incarnation = record.a;
                self.expired = None;
                self.handled = None;
                self.known = Known::default();
                self.detectors = Detectors::default();
            }
            Some(Kind::NmiSent) => self.expired = Some(record.tick),
            Some(Kind::Pet) => self.expired = None,
            Some(Kind::Nmi) if self.expired.is_some() => self.handled = Some(*record),
            Some(Kind::Verdict) if record.a == 1 => {
                if let (Some(expired), Some(handled)) = (self.expired, self.handled) {
                    self.reach(Beat::Nmi, record.tick.into(), |incarnation| {
                        json!({
                            "incarnation": incarnation,
                            "watchdog_expired_tick": expired,
                            "ticks_since_pet": handled.c,
                            "rip": format!("{:#x}", handled.b),
                            "cpl": handled.a,
                            "pid": pid(handled.pid),
                            "verdict": "critical",
                        })
                    });
                }
            }
            _ => {}
        }
        self.known.event(record);
        self.ask(record.tick.into(), |detector, known| detector.event(record, known));
    }

    /// Looks at what events left open until memory could be read: after records were taken, with the guest standing
    /// still.
    pub fn traced<M: PhysicalMemory>(&mut self, memory: &M) {
        if let Some((tick, evidence)) = self.detectors.kernel_context.traced(memory, &self.known) {
            self.prove(Beat::KernelContext, tick.into(), evidence);
        }
    }

    /// Looks at what an audit has just read.
    pub fn audit(&mut self, view: &View<'_>) {
        self.tables(view.guest);
        self.ask(view.tick, |detector, known| detector.audit(view, known));
        self.known.audit(view.guest);
    }

    /// Asks every detector whose beat is not reached yet.
    fn ask(&mut self, tick: u64, question: impl Fn(&mut dyn Detector, &Known) -> Option<Value>) {
        let Self { detectors, reached, known, .. } = self;
        let open = detectors.all().into_iter().filter(|(beat, _)| !reached.contains_key(beat));
        let proofs = open.filter_map(|(beat, detector)| Some((beat, question(detector, known)?)));
        for (beat, evidence) in proofs.collect::<Vec<_>>() {
            self.prove(beat, tick, evidence);
        }
    }

    fn prove(&mut self, beat: Beat, tick: u64, mut evidence: Value) {
        self.reach(beat, tick, |incarnation| {
            evidence["incarnation"] = incarnation.into();
            evidence
        });
    }

    fn tables(&mut self, guest: &Guest) {
        let info = &guest.info;
        let short = info.free_frames < info.frames / Self::SHORT_OF_FRAMES;
        if info.alive >= Self::HIGH_ALIVE && short {
            self.reach(Beat::Load, info.tick, |incarnation| {
                json!({
                    "incarnation": incarnation,
                    "alive": info.alive,
                    "free_frames": info.free_frames,
                    "quarantined_frames": info.quarantined,
                    "frames": info.frames,
                })
            });
        }
    }

    /// Looks at a finding of an audit.
    pub fn finding(&mut self, beat: Beat, tick: u64, finding: &Finding, guest: &Guest, ledger: &Ledger) {
        self.reach(beat, tick, |incarnation| {
            let mut evidence = evidence(finding, guest, ledger);
            evidence["incarnation"] = incarnation.into();
            evidence
        });
    }

    /// The next incarnation came up healthy.
    pub fn came_up(&mut self, tick: u64, evidence: Value) {
        self.reach(Beat::Reset, tick, |_| evidence);
    }

    /// Adds to each instruction's address in the evidence where in the kernel that is, if it is there.
    pub fn name_places(&mut self, places: &Places<'_>) {
        let unnamed = self.reached.values_mut().filter(|reached| reached.evidence.get("at").is_none());
        for reached in unnamed {
            let rip = reached.evidence["rip"].as_str().and_then(|rip| rip.strip_prefix("0x"));
            if let Some(rip) = rip.and_then(|rip| u64::from_str_radix(rip, 16).ok()) {
                reached.evidence["at"] = places.value(rip);
            }
        }
    }

    /// The part of the verdict.
    pub fn to_json(&self) -> Value {
        let mut object = serde_json::Map::new();
        for beat in Beat::ALL {
            let value = match self.reached.get(beat) {
                Some(reached) => json!({"reached": true, "tick": reached.tick, "evidence": reached.evidence}),
                None => json!({"reached": false}),
            };
            object.insert(beat.name().into(), value);
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::Pid;
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    fn record(kind: Kind, tick: u32, a: u32) -> Record {
        Record { tick, kind: kind as u16, reserved: 0, pid: Pid::NONE, a, b: 0, c: 0 }
    }

    fn nmi(events: &[Record]) -> bool {
        let mut beats = Beats::default();
        events.iter().for_each(|event| beats.event(event));
        beats.reached().contains_key(&Beat::Nmi)
    }

    #[test]
    fn an_nmi_counts_when_sent_handled_and_judged_critical() {
        let (sent, handled) = (record(Kind::NmiSent, 9, 0), record(Kind::Nmi, 9, 0));
        let (critical, stray) = (record(Kind::Verdict, 9, 1), record(Kind::Verdict, 9, 0));
        assert!(nmi(&[sent, handled, critical]));
        // Nearly: what the guest says without an NMI from us, a handler that never ran, a verdict that it was a stray.
        assert!(!nmi(&[handled, critical]));
        assert!(!nmi(&[sent, critical]));
        assert!(!nmi(&[sent, handled, stray]));
    }

    #[test]
    fn all_sixteen_are_in_the_verdict() {
        let verdict = Beats::default().to_json();
        assert_eq!(verdict.as_object().unwrap().len(), 16);
        assert!(Beat::ALL.iter().all(|beat| verdict[beat.name()] == json!({"reached": false})));
    }

    #[test]
    fn only_the_first_time_counts() {
        let mut beats = Beats::default();
        beats.came_up(3, json!({"n": 1}));
        beats.came_up(4, json!({"n": 2}));
        assert_eq!(beats.reached()[&Beat::Reset].tick, 3);
    }

    fn tag(slot: usize) -> Record {
        Record { pid: Pid::new(slot, 0), ..record(Kind::Tagged, 5, 1) }
    }

    #[test]
    fn a_proof_names_its_incarnation_and_no_proof_is_made_of_two() {
        let mut beats = Beats::default();
        for event in [record(Kind::Start, 0, 1), tag(1), record(Kind::Start, 0, 2), tag(2)] {
            beats.event(&event);
        }
        assert!(!beats.reached().contains_key(&Beat::FalseTags), "one in each life");
        beats.event(&tag(3));
        let reached = &beats.reached()[&Beat::FalseTags];
        assert_eq!((reached.tick, &reached.evidence["incarnation"]), (5, &2.into()));
    }

    proptest! {
        /// Whatever a guest emits and however its descriptors look: no panic, and twice the same.
        #[test]
        fn nonsense_is_survived_and_judged_the_same_each_time(
            records in prop::collection::vec((0..40u16, 0..6u32, any::<(u32, u32)>(), 0..6u64, any::<u64>()), 0..60),
            descriptors in prop::collection::vec(prop::collection::vec(any::<u8>(), size_of::<abi::process::Descriptor>()), 0..4),
            ticks in prop::collection::vec(any::<u64>(), 4),
        ) {
            let mut guest = Guest::default();
            for (slot, bytes) in (1..).zip(&descriptors) {
                let mut descriptor = abi::process::Descriptor::read_from_bytes(bytes).unwrap();
                descriptor.pid = Pid::new(slot, 0);
                guest.processes.push(introspect::matrix::guest::Process { frame: abi::Frame(7), descriptor });
            }
            let memory = vec![0xff; 1 << 13];
            let map = introspect::x86::reverse::ReverseMap::default();
            let run = || {
                let mut beats = Beats::default();
                for (nth, (kind, pid, (tick, a), b, c)) in records.iter().enumerate() {
                    let record = Record { tick: *tick, kind: *kind, reserved: 0, pid: Pid(*pid), a: *a, b: *b, c: *c };
                    beats.event(&record);
                    if nth % 15 == 0 {
                        let memory = memory.as_slice();
                        beats.traced(&memory);
                        let view = View { tick: ticks[nth / 15], guest: &guest, map: &map, memory: &memory };
                        beats.audit(&view);
                    }
                }
                beats.to_json()
            };
            prop_assert_eq!(run(), run());
        }
    }
}
