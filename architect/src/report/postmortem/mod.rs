//! The post-mortem of an incarnation: what happened, what the first cause was, what came of it, and what to change.
//!
//! It reads what the run has recorded, the events and audits in an [`History`], the beats, the writes that audits saw, and
//! decides nothing. Everything in it is a measured fact with its tick, its processes and its frames; what was not measured
//! is not said. A post-mortem is written when an incarnation ends badly, and when it had a frame within reach of
//! somebody who has no right to it.

mod advice;
mod chain;
mod history;
mod text;

use abi::frame::FrameKind;
use abi::{Frame, Pid};
use serde_json::{Value, json};

use crate::analysis::detection::Write;
use crate::beats::{Beats, Reached};
use crate::scenario::Scenario;
use crate::terms::Beat;
use crate::terms::{IncarnationEnd, ResetCause};
use crate::trace::events::pid;
use advice::Advice;
use chain::{By, Victim};
use history::{Death, How, Reuse};

pub use history::History;

/// What a post-mortem is made from.
pub struct Case<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Which incarnation, from 1.
    pub incarnation: u32,
    /// Its last tick.
    pub tick: u64,
    /// How it ended.
    pub ended: IncarnationEnd,
    /// What its events and audits said.
    pub history: &'a History,
    /// The beats of the run.
    pub beats: &'a Beats,
    /// The writes that audits saw.
    pub writes: &'a [Write],
    /// Messages and system calls that the Agents looked at; processes that they tagged rightly, and wrongly.
    pub agents: [u64; 3],
}

impl Case<'_> {
    /// Whether there is a reason for a post-mortem.
    pub fn is_due(&self) -> bool {
        let counts = &self.history.counts;
        !self.ended.is_planned() || counts.findings > 0 || !self.history.reuses.is_empty()
    }

    fn timeline(&self) -> Vec<(Beat, &Reached)> {
        chain::timeline(self.beats.reached().iter(), self.incarnation)
    }

    fn victims(&self) -> Vec<Victim<'_>> {
        chain::victims(self.history, self.writes)
    }

    fn first_cause(&self) -> Option<&Reuse> {
        self.history.reuses.first()
    }

    fn advice(&self) -> Vec<Advice> {
        advice::of(self)
    }

    /// The post-mortem, for programs.
    pub fn document(&self) -> Value {
        let beats: Vec<_> =
            self.timeline().into_iter().map(|(beat, reached)| self.beat(beat, reached)).collect();
        let crashes: Vec<_> = self.victims().iter().map(|victim| self.victim(victim)).collect();
        let advice: Vec<_> = self.advice().iter().map(Advice::to_json).collect();
        let [taps, right, wrong] = self.agents;
        json!({
            "version": 1,
            "scenario": self.scenario.name,
            "seed": self.scenario.seed,
            "incarnation": self.incarnation,
            "ticks": self.tick,
            "ended": end_name(self.ended),
            "timeline": beats,
            "first_cause": self.first_cause().map(|reuse| self.reuse(reuse)),
            "writes": self.writes.iter().map(|write| self.write(write)).collect::<Vec<_>>(),
            "crashes": crashes,
            "last_pet_tick": self.history.last_pet,
            "memory_short_since": self.history.short_since,
            "last_epoch": {"epoch": self.history.last_epoch, "tick": self.history.last_epoch_tick},
            "counts": self.history.counts,
            "agents": {"taps": taps, "tagged_rightly": right, "tagged_wrongly": wrong},
            "recommendations": advice,
        })
    }

    fn who(&self, who: Pid) -> Value {
        json!({"pid": pid(who), "name": self.history.name(who)})
    }

    fn beat(&self, beat: Beat, reached: &Reached) -> Value {
        let link = chain::link(self.history, reached).map(|(by, reuse)| {
            let by = match by {
                By::Frame => "frame",
                By::Process => "process",
            };
            json!({"by": by, "frame": reuse.frame.to_string(), "given_tick": reuse.tick, "to": self.who(reuse.to),
                   "write_seen": self.write_into(reuse).map(|write| write.seen)})
        });
        json!({"tick": reached.tick, "beat": beat.name(), "evidence": reached.evidence, "link": link})
    }

    /// The first write that audits saw into this frame while it was this owner's.
    fn write_into(&self, reuse: &Reuse) -> Option<&Write> {
        self.writes.iter().find(|write| {
            let sharing = &write.sharing;
            (sharing.frame, sharing.owner, sharing.other) == (reuse.frame, reuse.to, reuse.window.borrower)
        })
    }

    fn reuse(&self, reuse: &Reuse) -> Value {
        let Reuse { window, freed, .. } = reuse;
        json!({
            "tick": reuse.tick,
            "frame": reuse.frame.to_string(),
            "given_to": self.who(reuse.to),
            "use": reuse.used.map(FrameKind::name),
            "free_list_empty": reuse.source == Reuse::EARLY,
            "loan": {
                "loan": window.loan,
                "lender": self.who(window.lender),
                "borrower": self.who(window.borrower),
                "port": window.port,
                "lent_tick": window.lent,
                "ended_tick": window.ended,
            },
            "freed": freed.map(|freed| json!({
                "tick": freed.tick,
                "of": self.who(freed.of),
                "quarantined": freed.quarantined,
                "epoch": freed.epoch,
                "epoch_had_ended": freed.epoch <= reuse.last_epoch,
            })),
            "death": freed.and_then(|freed| freed.death).map(|death| self.death(&death)),
            "write_seen": self.write_into(reuse).map(|write| self.write(write)),
        })
    }

    fn death(&self, death: &Death) -> Value {
        let (how, number, by) = match death.how {
            How::Exit(status) => ("exit", Some(status), None),
            How::Fault(vector) => ("fault", Some(vector), None),
            How::Killed(by, false) => ("killed", None, by),
            How::Killed(by, true) => ("killed-for-the-monitor", None, by),
            How::OutOfMemory => ("out-of-memory", None, None),
        };
        json!({"process": self.who(death.pid), "tick": death.tick, "how": how, "number": number,
               "by": by.map(|by| self.who(by)), "gave_up_waiting": death.gave_up})
    }

    fn write(&self, write: &Write) -> Value {
        json!({
            "frame": write.sharing.frame.to_string(),
            "owner": self.who(write.sharing.owner),
            "writer": self.who(write.sharing.other),
            "virtual": write.virt.to_string(),
            "entry": write.entry.to_string(),
            "mapping_found_tick": write.found,
            "seen_tick": write.seen,
        })
    }

    fn victim(&self, victim: &Victim<'_>) -> Value {
        let frames = |frames: &mut dyn Iterator<Item = Frame>| {
            let mut frames: Vec<_> = frames.map(|frame| frame.0).collect();
            frames.sort_unstable();
            frames.dedup();
            frames.into_iter().map(|frame| Frame(frame).to_string()).collect::<Vec<_>>()
        };
        let mut death = self.death(&victim.death);
        death["given_under_a_window"] = frames(&mut victim.given.iter().map(|reuse| reuse.frame)).into();
        death["written_by_others"] =
            frames(&mut victim.written.iter().map(|write| write.sharing.frame)).into();
        death
    }
}

/// The name of an end in the document.
const fn end_name(end: IncarnationEnd) -> &'static str {
    match end {
        IncarnationEnd::Lasted | IncarnationEnd::Judged { .. } => "lasted",
        IncarnationEnd::Reset(ResetCause::Guest) => "reset-by-guest",
        IncarnationEnd::Reset(ResetCause::Watchdog) => "reset-by-watchdog",
        IncarnationEnd::Reset(ResetCause::Processor) => "processor-stopped",
        IncarnationEnd::Hung => "hung",
    }
}

#[cfg(test)]
mod tests;
