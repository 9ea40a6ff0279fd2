//! What hangs on what: from the frames that were given out under a window to the writes through such windows, the
//! processes that crashed, and the beats. A link is a fact that two records have in common, a frame or a process, in the
//! right order of time; where there is none, none is told.

use std::collections::BTreeSet;

use abi::{Frame, Pid};
use serde_json::Value;

use super::history::{Death, History, Reuse};
use crate::analysis::detection::Write;
use crate::beats::Reached;
use crate::terms::Beat;

/// What links a beat to the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The beat's evidence names the frame.
    Frame,
    /// It names the process that the frame was given to.
    Process,
}

/// The first frame, given out under a window before the beat, that the beat's evidence names, or whose new owner it names.
pub(super) fn link<'a>(history: &'a History, reached: &Reached) -> Option<(By, &'a Reuse)> {
    let mut named = Named::default();
    named.collect(&reached.evidence);
    let before = || history.reuses.iter().filter(|reuse| u64::from(reuse.tick) <= reached.tick);
    let by_frame = before().find(|reuse| named.frames.contains(&reuse.frame));
    by_frame
        .map(|reuse| (By::Frame, reuse))
        .or_else(|| before().find(|reuse| named.pids.contains(&reuse.to)).map(|reuse| (By::Process, reuse)))
}

/// The frames and processes that a piece of evidence names.
#[derive(Default)]
struct Named {
    frames: BTreeSet<Frame>,
    pids: BTreeSet<Pid>,
}

impl Named {
    fn collect(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    match (key.as_str(), value.as_str()) {
                        ("frame", Some(text)) => self.frames.extend(hex(text).map(Frame)),
                        ("pid" | "owner", Some(text)) => self.pids.extend(pid(text)),
                        _ => self.collect(value),
                    }
                }
            }
            _ => {}
        }
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn pid(text: &str) -> Option<Pid> {
    let (slot, generation) = text.split_once('.')?;
    Some(Pid::new(slot.parse().ok()?, generation.parse().ok()?))
}

/// A process that crashed, with what it had been given under a window, and what was seen to be written there.
pub(super) struct Victim<'a> {
    pub(super) death: Death,
    pub(super) given: Vec<&'a Reuse>,
    pub(super) written: Vec<&'a Write>,
}

/// Everybody who crashed, in the order of time.
pub(super) fn victims<'a>(history: &'a History, writes: &'a [Write]) -> Vec<Victim<'a>> {
    let of = |death: &Death| Victim {
        death: *death,
        given: history
            .reuses
            .iter()
            .filter(|reuse| reuse.to == death.pid && reuse.tick <= death.tick)
            .collect(),
        written: writes
            .iter()
            .filter(|write| write.sharing.owner == death.pid && write.seen <= u64::from(death.tick))
            .collect(),
    };
    history.crashes.iter().map(of).collect()
}

/// The beats of an incarnation in the order of time.
pub(super) fn timeline<'a>(
    beats: impl Iterator<Item = (&'a Beat, &'a Reached)>,
    incarnation: u32,
) -> Vec<(Beat, &'a Reached)> {
    let of_it = |reached: &Reached| reached.evidence["incarnation"].as_u64() == Some(incarnation.into());
    let mut beats: Vec<_> =
        beats.filter(|(_, reached)| of_it(reached)).map(|(beat, reached)| (*beat, reached)).collect();
    beats.sort_by_key(|(beat, reached)| (reached.tick, *beat));
    beats
}
