//! An audit: the guest's tables and page tables are read, and what is new in them becomes events.

use abi::GuestPhys;
use abi::Pid;
use abi::trace::Kind;
use introspect::matrix::policy::Finding;

use crate::analysis::ledger::window_maps;
use crate::analysis::observer::Observer;
use crate::beats::View;
use crate::error::Error;
use crate::experiment::incarnation::Incarnation;
use crate::experiment::watch::Watchers;

impl Watchers<'_> {
    /// Reads the guest's tables and page tables and records what is new; `whole` reads all of them, not only
    /// what was written since the last audit. Returns whether the tables could be read.
    ///
    /// # Errors
    ///
    /// KVM did not give the registers.
    pub(in crate::experiment) fn audit(
        &mut self,
        guest: &mut Incarnation,
        whole: bool,
    ) -> Result<bool, Error> {
        let Some(mut observer) = guest.observer.take() else { return Ok(false) };
        if observer.scans_at(guest.tick) {
            observer.processor_has(GuestPhys(guest.machine.registers()?.system.cr3));
        }
        self.tally.audits += 1;
        let memory = guest.machine.memory();
        self.ledger.audit(|root, frame| window_maps(memory, root, frame));
        self.detector.look(guest.tick, &self.ledger, memory);
        self.changed.clear();
        if whole {
            self.changed.add_everything();
        } else {
            guest.machine.take_written(&mut self.changed);
        }
        let seen = observer.audit(guest.machine.memory(), &self.changed).is_ok();
        if seen {
            self.audited(guest, &mut observer);
        }
        if !(seen && observer.is_complete()) {
            self.blind(guest);
        }
        guest.observer = Some(observer);
        Ok(seen)
    }

    /// Hands a successful audit to every watcher that wants it.
    fn audited(&mut self, guest: &mut Incarnation, observer: &mut Observer) {
        self.beats.audit(&View {
            tick: guest.tick,
            guest: observer.guest(),
            map: observer.map(),
            memory: guest.machine.memory(),
        });
        self.history.audit(observer.guest());
        let found: Vec<Finding> = observer.violations().cloned().collect();
        for finding in &found {
            self.found(guest, observer, finding);
        }
        for hidden in observer.newly_hidden() {
            guest.add_blemish();
            let kind = hidden.judged.kind.map_or(0, |kind| kind as u64);
            let values = [kind, hidden.judged.root.at.0, hidden.judged.root.user_entries.into()];
            self.note(Kind::HiddenSpace, guest.tick, hidden.owner, values);
            self.hidden.add(self.incarnation, guest.tick, hidden.evidence);
        }
    }

    /// The guest's own tables are damaged: recorded once in each incarnation.
    pub(in crate::experiment) fn blind(&mut self, guest: &mut Incarnation) {
        self.tally.blind_audits += 1;
        if guest.set_blind() {
            self.note(Kind::Blind, guest.tick, Pid::NONE, [0; 3]);
        }
    }

    /// Keeps account of the state that nothing can reach at a tick; `seen` says that an audit was just made.
    ///
    /// # Errors
    ///
    /// KVM did not give the registers.
    pub(in crate::experiment) fn watch_unread(
        &mut self,
        guest: &mut Incarnation,
        seen: bool,
    ) -> Result<(), Error> {
        let Some(unread) = &mut self.unread else { return Ok(()) };
        let seen = match &guest.observer {
            Some(observer) if seen && observer.is_complete() => {
                let root = GuestPhys(guest.machine.registers()?.system.cr3);
                Some((observer.guest(), observer.map(), root))
            }
            _ => None,
        };
        unread.doorbell(guest.tick, seen);
        Ok(())
    }
}
