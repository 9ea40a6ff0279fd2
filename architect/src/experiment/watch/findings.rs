//! What an audit's findings become: events, beats, and a comparison with the ledger.

use abi::layout::{USER_WINDOWS, USER_WINDOWS_END};
use abi::trace::Kind;
use abi::{GuestVirt, Pid};
use introspect::matrix::policy::{Finding, Standing, What};

use crate::analysis::ledger::Sharing;
use crate::analysis::observer::Observer;
use crate::experiment::incarnation::Incarnation;
use crate::experiment::watch::Watchers;
use crate::terms::Beat;

impl Watchers<'_> {
    /// Records what is new in a finding. A process that reaches the frame without a right to it shares it
    /// wrongly.
    pub(super) fn found(&mut self, guest: &mut Incarnation, observer: &mut Observer, finding: &Finding) {
        let (what, frame, owner) = (finding.what, finding.frame, finding.fact.owner());
        let new = |observer: &mut Observer, other| {
            let sharing = Sharing { frame, owner, other };
            observer.is_new(what, sharing).then_some(sharing)
        };
        if let Some(object) = finding.object {
            if let Some(sharing) = new(observer, object.pid) {
                let values = [object.role as u64, frame.0, object.named_at.0];
                self.reveal(guest, observer, (finding, sharing), (Kind::BackingFound, owner, values));
            }
            return;
        }
        for party in &finding.parties {
            let (pid, at) = (party.pid, party.virt.0);
            if what == What::WritableExecutable {
                if new(observer, pid).is_some() {
                    guest.add_blemish();
                    self.tally.executable += 1;
                    self.note(Kind::ExecutableFound, guest.tick, pid, [0, frame.0, at]);
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
                self.reveal(guest, observer, (finding, sharing), event);
            }
        }
    }

    /// A wrong sharing has come to light: event, beat, and the comparison with the ledger.
    fn reveal(
        &mut self,
        guest: &mut Incarnation,
        observer: &Observer,
        (finding, sharing): (&Finding, Sharing),
        (kind, about, values): (Kind, Pid, [u64; 3]),
    ) {
        guest.add_blemish();
        let by = finding.parties.iter().filter(|party| party.pid == sharing.other);
        if finding.object.is_none() && by.clone().any(|party| is_window(party.virt)) {
            let writable = by.filter(|party| party.rights.write);
            let (at, memory) = ((guest.previous_tick, guest.tick), guest.machine.memory());
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
        self.note(kind, guest.tick, about, values);
        let beat = if kind == Kind::LeakFound { Beat::Leak } else { Beat::Crossing };
        self.beats.finding(beat, guest.tick, finding, observer.guest(), &self.ledger);
    }
}

/// Whether a loan's window can be here.
fn is_window(at: GuestVirt) -> bool {
    (USER_WINDOWS..USER_WINDOWS_END).contains(&at.0)
}
