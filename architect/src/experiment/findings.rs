//! What becomes of an audit's findings: events, beats, and a comparison with the ledger.

use abi::layout::{USER_WINDOWS, USER_WINDOWS_END};
use abi::trace::Kind;
use abi::{GuestVirt, Pid};
use introspect::policy::{Finding, Standing, What};

use super::Run;
use super::life::Life;
use crate::analysis::ledger::Sharing;
use crate::analysis::observer::Observer;
use crate::terms::Beat;

impl Run<'_> {
    /// Notes what is new in a finding. Who reaches the frame without a right shares it wrongly.
    pub(super) fn found(&mut self, life: &mut Life, observer: &mut Observer, finding: &Finding) {
        let (what, frame, owner) = (finding.what, finding.frame, finding.fact.owner());
        let new = |observer: &mut Observer, other| {
            let sharing = Sharing { frame, owner, other };
            observer.is_new(what, sharing).then_some(sharing)
        };
        if let Some(object) = finding.object {
            if let Some(sharing) = new(observer, object.pid) {
                let values = [object.role as u64, frame.0, object.named_at.0];
                self.reveal(life, observer, (finding, sharing), (Kind::BackingFound, owner, values));
            }
            return;
        }
        for party in &finding.parties {
            let (pid, at) = (party.pid, party.virt.0);
            if what == What::WritableExecutable {
                if new(observer, pid).is_some() {
                    life.blemishes += 1;
                    self.tally.executable += 1;
                    self.note(Kind::ExecutableFound, life.tick, pid, [0, frame.0, at]);
                }
            } else if party.standing == Standing::Uncovered
                && let Some(sharing) = new(observer, pid)
            {
                let event = if what == What::Crossing {
                    let used = finding.fact.kind().map_or(0, |kind| kind as u64);
                    (Kind::CrossingFound, pid, [used, frame.0, at])
                } else {
                    (Kind::LeakFound, owner, [0, frame.0, pid.0.into()])
                };
                self.reveal(life, observer, (finding, sharing), event);
            }
        }
    }

    /// A wrong sharing has come to light: event, beat, and the comparison with the ledger.
    fn reveal(
        &mut self,
        life: &mut Life,
        observer: &Observer,
        (finding, sharing): (&Finding, Sharing),
        (kind, about, values): (Kind, Pid, [u64; 3]),
    ) {
        life.blemishes += 1;
        let by = finding.parties.iter().filter(|party| party.pid == sharing.other);
        if finding.object.is_none() && by.clone().any(|party| is_window(party.virt)) {
            let writable = by.filter(|party| party.rights.write);
            let (at, memory) = ((life.ended, life.tick), life.machine.memory());
            self.detector.found(
                sharing,
                writable.map(|party| (party.virt, party.entry)),
                at,
                &self.ledger,
                memory,
            );
        } else {
            self.detector.found_beyond_the_ledger(sharing);
        }
        self.note(kind, life.tick, about, values);
        let beat = if kind == Kind::LeakFound { Beat::Leak } else { Beat::Crossing };
        self.beats.finding(beat, life.tick, finding, observer.guest(), &self.ledger);
    }
}

/// Whether a loan's window can be here.
fn is_window(at: GuestVirt) -> bool {
    (USER_WINDOWS..USER_WINDOWS_END).contains(&at.0)
}
