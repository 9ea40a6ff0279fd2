//! What became of a faulty run, held against its golden run: the same scenario and seed, without faults.
//!
//! | class | what it says |
//! |---|---|
//! | `crashed` | the kernel could not go on, or came up damaged after a reset |
//! | `hung` | no progress, and nothing brought it back |
//! | `recovered` | it was lost, and something brought it back |
//! | `corrupted` | a program's own check failed before anybody else had noticed |
//! | `detected` | somebody noticed: an audit, a checksum, the processor, the monitor, an Agent |
//! | `latent` | nothing shows, but the damage is still there |
//! | `masked` | nothing shows, and nothing is left |
//!
//! The first that fits counts, from above. What the golden run did as well is no effect: only what goes beyond it.

use serde_json::{Value, json};

use super::digest::{Digest, Watcher};
use super::reset::{PutBack, Reset};
use crate::terms::Outcome;

/// The effect of a run's faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The class.
    pub class: Outcome,
    /// Who noticed anything, the first first.
    pub noticed_by: Vec<Watcher>,
    /// Who brought the machine back, if the class is `recovered`.
    pub recovered_by: Option<Reset>,
    /// From where it went on, if it was reset for that.
    pub put_back_by: Option<PutBack>,
    /// Whether the life after the last reset differs from what it was without the lives before: record by record, as
    /// long as it was watched. `None` without a reset, or if the golden run was too short to tell.
    pub residue: Option<bool>,
}

/// Compares a run with its golden run.
pub fn classify(golden: &Digest, faulty: &Digest) -> Effect {
    let mut noticed: Vec<(u64, Watcher)> = Watcher::ALL
        .into_iter()
        .filter_map(|watcher| {
            let at = watcher as usize;
            faulty.noticed[at].beyond(&golden.noticed[at]).map(|place| (place, watcher))
        })
        .collect();
    noticed.sort();
    let residue = match (golden.beginning, faulty.last_beginning) {
        (Some(before), Some(after)) => Some(before != after),
        _ => None,
    };
    let (class, back) = class(golden, faulty, noticed.first().map(|(place, _)| *place));
    Effect {
        class,
        noticed_by: noticed.into_iter().map(|(_, watcher)| watcher).collect(),
        recovered_by: back.map(|(by, _)| by),
        put_back_by: back.and_then(|(_, put_back)| put_back),
        residue,
    }
}

/// Who brought it back, and from where it went on, if it was reset for that.
type Back = (Reset, Option<PutBack>);

fn class(golden: &Digest, faulty: &Digest, noticed: Option<u64>) -> (Outcome, Option<Back>) {
    let beyond = |watcher: Watcher| {
        let at = watcher as usize;
        faulty.noticed[at].count > golden.noticed[at].count
    };
    // An end that the golden run came to in the same way says nothing about the faults.
    if faulty.outcome != golden.outcome || faulty.resets != golden.resets {
        match faulty.outcome {
            Outcome::Crashed | Outcome::Hung => return (faulty.outcome, None),
            Outcome::Recovered => {
                let back = faulty.resets.last().map(|by| (*by, Some(faulty.put_back)));
                return (Outcome::Recovered, back);
            }
            _ => {}
        }
    }
    if beyond(Watcher::Kernel) && faulty.resets == golden.resets {
        return (Outcome::Crashed, None);
    }
    if beyond(Watcher::Watchdog) && faulty.resets == golden.resets {
        return match (faulty.progress_since_expiry, faulty.pets_since_expiry) {
            (Some(0), _) => (Outcome::Hung, None),
            (_, 1..) if faulty.nmis_survived > golden.nmis_survived => {
                (Outcome::Recovered, Some((Reset::NmiHandler, None)))
            }
            _ => (Outcome::Detected, None),
        };
    }
    let failed = faulty.failures.beyond(&golden.failures);
    let class = match (failed, noticed) {
        (Some(failed), Some(noticed)) if noticed < failed => Outcome::Detected,
        (Some(_), _) => Outcome::Corrupted,
        (None, Some(_)) => Outcome::Detected,
        (None, None) if faulty.standing > 0 => Outcome::Latent,
        // Where the story is another one, so is what it leaves behind, and a comparison would say nothing.
        (None, None) if faulty.story != golden.story => Outcome::Masked,
        (None, None) if faulty.console != golden.console => Outcome::Corrupted,
        (None, None) if faulty.memory != golden.memory => Outcome::Latent,
        (None, None) => Outcome::Masked,
    };
    (class, None)
}

impl Effect {
    /// For people.
    pub fn sentence(&self, golden: &Digest, faulty: &Digest) -> String {
        let noticed = match &self.noticed_by[..] {
            [] => "noticed by nobody".to_owned(),
            by => format!(
                "noticed by {}",
                by.iter().map(|watcher| watcher.name()).collect::<Vec<_>>().join(", ")
            ),
        };
        let mut back =
            self.recovered_by.map_or_else(String::new, |by| format!("; brought back by {}", by.name()));
        if let Some(by) = self.put_back_by {
            back += &format!(", put back by {}", by.name());
        }
        if !back.is_empty() && self.residue == Some(true) {
            back += ", with something left";
        }
        let Digest { acted, missed, standing, .. } = faulty;
        format!(
            "{acted} acted, {missed} found nothing; {noticed}{back}; {standing} words still changed (golden run: {})",
            golden.outcome.name()
        )
    }

    /// As a verdict has it.
    pub fn to_json(&self, golden: &Digest, faulty: &Digest) -> Value {
        let hex = |hash: &[u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        json!({
            "class": self.class.name(),
            "acted": faulty.acted,
            "missed": faulty.missed,
            "standing": faulty.standing,
            "noticed_by": self.noticed_by.iter().map(|watcher| watcher.name()).collect::<Vec<_>>(),
            "recovered_by": self.recovered_by.map(Reset::name),
            "put_back_by": self.put_back_by.map(PutBack::name),
            "residue": self.residue,
            "same_story": faulty.story == golden.story,
            "outcome": faulty.outcome.name(),
            "golden": {"outcome": golden.outcome.name(), "story": hex(&golden.story)},
        })
    }
}

#[cfg(test)]
mod tests;
