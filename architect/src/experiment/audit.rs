//! What is done at a tick's audit: the guest's tables are read, what is new in them becomes events, and the monitor is asked.

use abi::trace::Kind;
use abi::{GuestPhys, Pid};
use introspect::policy::Finding;

use super::Run;
use super::life::Life;
use crate::analysis::ledger::window_maps;
use crate::beats::View;
use crate::error::Error;
use crate::experiment::monitor::Order;

impl Run<'_> {
    /// Reads the guest's tables and page tables and notes what is new. Whether there is something for the monitor to go by.
    pub(super) fn audit(&mut self, life: &mut Life) -> Result<bool, Error> {
        let Some(mut observer) = life.observer.take() else { return Ok(false) };
        if observer.scans_at(life.tick) {
            observer.processor_has(GuestPhys(life.machine.registers()?.system.cr3));
        }
        self.tally.audits += 1;
        let memory = life.machine.memory();
        self.ledger.audit(|root, frame| window_maps(memory, root, frame));
        self.detector.look(life.tick, &self.ledger, memory);
        self.changed.clear();
        match self.lab.scenario.audit.whole {
            true => self.changed.add_everything(),
            false => life.machine.take_written(&mut self.changed),
        }
        let seen = observer.audit(life.machine.memory(), &self.changed).is_ok();
        if seen {
            self.beats.audit(&View {
                tick: life.tick,
                guest: observer.guest(),
                map: observer.map(),
                memory: life.machine.memory(),
            });
            self.history.audit(observer.guest());
            let found: Vec<Finding> = observer.violations().cloned().collect();
            for finding in &found {
                self.found(life, &mut observer, finding);
            }
            for hidden in observer.newly_hidden() {
                life.blemishes += 1;
                let kind = hidden.judged.kind.map_or(0, |kind| kind as u64);
                let values = [kind, hidden.judged.root.at.0, hidden.judged.root.user_entries.into()];
                self.note(Kind::HiddenSpace, life.tick, hidden.owner, values);
                self.hidden.add(self.incarnation, life.tick, hidden.evidence);
            }
        }
        if !(seen && observer.is_complete()) {
            self.blind(life);
        }
        life.observer = Some(observer);
        Ok(seen)
    }

    /// What the monitor wants done is noted and handed to the guest, which does it when it goes on.
    pub(super) fn command(&mut self, life: &mut Life) {
        let Life { machine, observer: Some(observer), monitor, tick, blemishes, .. } = life else { return };
        let orders = monitor.look(observer.guest(), observer.room());
        for order in &orders {
            *blemishes += 1;
            match *order {
                Order::Kill { pid, waited } => {
                    self.tally.kills += 1;
                    self.note(Kind::MonitorKill, *tick, pid, [waited.min(u32::MAX.into()), 0, 0]);
                }
                Order::Restart { service, last } => {
                    self.tally.restarts += 1;
                    self.note(Kind::MonitorRestart, *tick, last, [service.into(), 0, 0]);
                }
            }
        }
        if !orders.is_empty() {
            observer.command(machine.memory(), orders.into_iter().map(Order::command));
        }
    }

    /// The guest's own tables are damaged; said once in each life.
    pub(super) fn blind(&mut self, life: &mut Life) {
        self.tally.blind_audits += 1;
        life.blemishes += 1;
        if !std::mem::replace(&mut life.was_blind, true) {
            self.note(Kind::Blind, life.tick, Pid::NONE, [0; 3]);
        }
    }
}
