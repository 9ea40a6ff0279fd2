//! The post-mortem for programs: one JSON document.

use abi::frame::FrameKind;
use abi::{Frame, Pid};
use serde_json::{Value, json};

use super::advice::{self, Advice};
use super::case::Case;
use super::chain::{self, By, Victim};
use super::history::{Death, How, Reuse};
use crate::analysis::detection::Write;
use crate::beats::Reached;
use crate::terms::{Beat, IncarnationEnd, ResetCause};
use crate::trace::events::pid;

impl Case<'_> {
    /// The post-mortem, for programs.
    pub fn document(&self) -> Value {
        let beats: Vec<_> =
            self.timeline().into_iter().map(|(beat, reached)| self.beat(beat, reached)).collect();
        let crashes: Vec<_> = self.victims().iter().map(|victim| self.victim(victim)).collect();
        let advice: Vec<_> = advice::of(self).iter().map(Advice::to_json).collect();
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

    pub(super) fn who(&self, who: Pid) -> Value {
        json!({"pid": pid(who), "name": self.history.name(who)})
    }

    pub(super) fn beat(&self, beat: Beat, reached: &Reached) -> Value {
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
    pub(super) fn write_into(&self, reuse: &Reuse) -> Option<&Write> {
        self.writes.iter().find(|write| {
            let sharing = &write.sharing;
            (sharing.frame, sharing.owner, sharing.other) == (reuse.frame, reuse.to, reuse.window.borrower)
        })
    }

    pub(super) fn reuse(&self, reuse: &Reuse) -> Value {
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

    pub(super) fn death(&self, death: &Death) -> Value {
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

    pub(super) fn write(&self, write: &Write) -> Value {
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

    pub(super) fn victim(&self, victim: &Victim<'_>) -> Value {
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
