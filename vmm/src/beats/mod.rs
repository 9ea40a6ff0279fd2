//! Beats: what an outside observer can prove of the story, each from events and audits alone.
//!
//! All sixteen have a place in the verdict; those that this version has no detector for say so with `watched: false`,
//! and cannot be expected by a scenario.

use std::collections::BTreeMap;

use abi::trace::{Kind, Record};
use introspect::policy::Finding;
use introspect::space::Guest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::events::pid;
use crate::ledger::Ledger;
use crate::places::Places;

macro_rules! beats {
    ($($(#[doc = $doc:literal])+ $name:ident, $text:literal, $watched:literal;)+) => {
        /// A beat.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Beat { $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+ }

        impl Beat {
            /// All beats, in the order in which the story tells them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name in verdicts and scenarios.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whether this version looks for it.
            pub const fn is_watched(self) -> bool {
                match self { $(Self::$name => $watched,)+ }
            }
        }
    };
}

beats! {
    /// Many processes, little free memory.
    Load, "load", true;
    /// A frame is mapped in two address spaces and neither a share nor a loan covers it.
    Leak, "leak", true;
    /// A kernel frame is within reach of ring 3.
    Crossing, "crossing", true;
    /// A message arrives damaged, or senders wait for each other.
    IpcDamage, "ipc-damage", false;
    /// The monitor restarts the same service again and again.
    Berserk, "berserk", false;
    /// An Agent is killed inside a system call and restarted from its dirty page.
    KilledMidSyscall, "killed-mid-syscall", false;
    /// Program text runs in ring 0.
    KernelContext, "kernel-context", false;
    /// Processes are tagged as violators without a violation.
    FalseTags, "false-tags", false;
    /// Text frames of others hold a copy of the Agent's text.
    Assimilation, "assimilation", false;
    /// A process is root with high priority, and no key says why.
    TheOne, "the-one", false;
    /// Two processes share executable frames that are not one program's.
    Entangled, "entangled", false;
    /// Those two try to kill each other.
    Duel, "duel", false;
    /// A kill is aimed at the scheduler and does not complete.
    SchedulerAttacked, "scheduler-attacked", false;
    /// Only two processes have run in the last window.
    TwoLeft, "two-left", false;
    /// The watchdog has expired, its NMI was handled, and the handler's verdict is "critical".
    Nmi, "nmi", true;
    /// The guest was reset, and its next incarnation came up healthy.
    Reset, "reset", true;
}

/// A beat that was reached: where in time, and the proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached {
    /// Virtual time in its incarnation.
    pub tick: u64,
    /// The proof: processes, frames, addresses.
    pub evidence: Value,
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
    }

    /// Looks at the guest's own tables.
    pub fn tables(&mut self, guest: &Guest) {
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
        for reached in self.reached.values_mut() {
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
                None if beat.is_watched() => json!({"reached": false}),
                None => json!({"reached": false, "watched": false}),
            };
            object.insert(beat.name().into(), value);
        }
        Value::Object(object)
    }
}

/// A finding as evidence: the frame, what the guest's tables and the ledger say of it, every mapping with its entry's
/// address, and what the kernel keeps there, if that is what is wrong.
pub fn evidence(finding: &Finding, guest: &Guest, ledger: &Ledger) -> Value {
    let label = |pid| guest.process(pid).map(|process| process.descriptor.label().collect::<String>());
    let mappings: Vec<_> = finding
        .parties
        .iter()
        .map(|party| {
            json!({
                "pid": pid(party.pid),
                "name": label(party.pid),
                "virtual": party.virt.to_string(),
                "entry": party.entry.to_string(),
                "writable": party.rights.write,
                "executable": party.rights.execute,
                "standing": party.standing.name(),
                "loan": party.loan,
            })
        })
        .collect();
    let mut evidence = json!({
        "finding": finding.what.name(),
        "tick": finding.tick,
        "frame": finding.frame.to_string(),
        "physical": finding.frame.base().to_string(),
        "kind": finding.fact.kind().map(abi::frame::FrameKind::name),
        "owner": pid(finding.fact.owner()),
        "owner_name": label(finding.fact.owner()),
        "freed_in_epoch": finding.fact.0.filter(|entry| entry.epoch != 0).map(|entry| entry.epoch),
        "ledger_owner": ledger.owner(finding.frame).map(pid),
        "mappings": mappings,
    });
    if let Some(object) = finding.object {
        evidence["object"] = json!({
            "role": object.role.name(),
            "pid": pid(object.pid),
            "name": label(object.pid),
            "named_at": object.named_at.to_string(),
        });
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::Pid;

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
        assert_eq!(verdict["leak"], json!({"reached": false}));
        assert_eq!(verdict["duel"], json!({"reached": false, "watched": false}));
    }

    #[test]
    fn only_the_first_time_counts() {
        let mut beats = Beats::default();
        beats.came_up(3, json!({"n": 1}));
        beats.came_up(4, json!({"n": 2}));
        assert_eq!(beats.reached()[&Beat::Reset].tick, 3);
    }
}
