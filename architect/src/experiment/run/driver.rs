//! [`Run`]: the loop over the guest's events.

use std::path::Path;
use std::time::Instant;

use abi::info::Doorbell;
use abi::layout::KERNEL_BASE;
use abi::trace::Kind;
use abi::{GuestPhys, Pid};
use devices::watchdog::{Expired, WatchdogAction};
use serde_json::Value;
use vmm::machine::Event;

use crate::analysis::observer::Observer;
use crate::error::Error;
use crate::experiment::incarnation::Incarnation;
use crate::experiment::laboratory::Laboratory;
use crate::experiment::monitor::Order;
use crate::experiment::run::clock::Clock;
use crate::experiment::run::files::RunFiles;
use crate::experiment::watch::Watchers;
use crate::faults::digest::Left;
use crate::terms::{IncarnationEnd, Outcome, ResetCause};
use crate::trace::events::Events;
use crate::trace::places::Places;

/// A run in progress.
pub(super) struct Run<'a> {
    pub(super) lab: &'a Laboratory<'a>,
    pub(super) watchers: Watchers<'a>,
    pub(super) files: RunFiles,
    pub(super) clock: Clock,
    /// Which incarnation runs, from 1.
    pub(super) number: u32,
    /// Guest time at which the last incarnation ended, ticks.
    pub(super) ended: u64,
    /// What the run is about, in a line, from the first post-mortem.
    pub(super) cause: Option<String>,
    /// Where the kernel was each time it could not continue.
    pub(super) crashes: Vec<Value>,
    /// Peculiarities that the guest found, as bits.
    pub(super) quirks: u32,
    /// What the incarnations left behind.
    pub(super) left: Left,
    /// A fault has written to the guest's memory.
    pub(super) changed_guest: bool,
}

impl<'a> Run<'a> {
    /// Prepares a run whose files go to the folder `out`.
    pub(super) fn new(lab: &'a Laboratory<'a>, out: Option<&Path>) -> Result<Self, Error> {
        let begin = Instant::now();
        let (files, events) = RunFiles::create(out, &lab.scenario.to_toml())?;
        let events = Events::new(events, Places::of(lab.config.image.bytes(), KERNEL_BASE));
        Ok(Self {
            watchers: Watchers::new(lab.scenario, lab.compare, events),
            files,
            clock: Clock::start(begin, lab.silence)?,
            number: 0,
            ended: 0,
            cause: None,
            crashes: Vec::new(),
            quirks: 0,
            left: Left { put_back: lab.put_back(), ..Left::default() },
            changed_guest: false,
            lab,
        })
    }

    /// Runs all incarnations. Returns the outcome, and whether the last incarnation is healthy if there was a
    /// reset.
    pub(super) fn all_incarnations(&mut self) -> Result<(Outcome, Option<bool>), Error> {
        loop {
            let ending = self.incarnate()?;
            let again = self.number > 1;
            let end = match ending {
                IncarnationEnd::Reset(_) if !again => continue,
                IncarnationEnd::Reset(_) => (Outcome::Crashed, Some(false)),
                IncarnationEnd::Hung => (Outcome::Hung, again.then_some(false)),
                IncarnationEnd::Judged { healthy: true } => (Outcome::Recovered, Some(true)),
                IncarnationEnd::Judged { healthy: false } => (Outcome::Crashed, Some(false)),
                IncarnationEnd::Lasted => (self.watchers.outcome_of_lasting(), None),
            };
            self.watchers.note(Kind::End, self.ended, Pid::NONE, [0; 3]);
            return Ok(end);
        }
    }

    /// Runs one incarnation, from power-on to its end.
    fn incarnate(&mut self) -> Result<IncarnationEnd, Error> {
        let mut guest = self.begin()?;
        let ending = loop {
            let event = guest.machine.step()?;
            if let Some(ending) = self.handle(&mut guest, &event)? {
                break ending;
            }
        };
        self.end(&mut guest, ending)?;
        self.lab.retire(guest.machine);
        Ok(ending)
    }

    fn handle(&mut self, guest: &mut Incarnation, event: &Event) -> Result<Option<IncarnationEnd>, Error> {
        match *event {
            Event::Doorbell { reason, page } => self.doorbell(guest, reason, page),
            Event::Reset => Ok(Some(IncarnationEnd::Reset(ResetCause::Guest))),
            Event::TripleFault | Event::Crash(_) => {
                self.crashed(guest, "processor")?;
                Ok(Some(IncarnationEnd::Reset(ResetCause::Processor)))
            }
            // The Matrix never halts or exits, so this is a failure of the vCPU.
            Event::Exit(_) | Event::Halted => Ok(Some(IncarnationEnd::Reset(ResetCause::Processor))),
            Event::Stray { at, bytes, .. } => {
                self.watchers.note(Kind::Stray, guest.tick, Pid::NONE, [bytes.into(), at, 0]);
                Ok(None)
            }
            Event::Trap => self.trapped(guest),
            Event::OutputWaits | Event::WatchdogChanged => Ok(None),
            Event::Kicked => self.kicked(guest),
        }
    }

    fn doorbell(
        &mut self,
        guest: &mut Incarnation,
        reason: Doorbell,
        page: GuestPhys,
    ) -> Result<Option<IncarnationEnd>, Error> {
        self.clock.heard();
        match reason {
            Doorbell::Hello => {
                match Observer::attach(guest.machine.memory(), page, self.lab.scenario.audit) {
                    Ok(observer) => {
                        guest.observer = Some(observer);
                        guest.trapping.plant(&guest.machine);
                    }
                    Err(_) => self.watchers.blind(guest),
                }
            }
            Doorbell::TraceFull | Doorbell::Critical => self.watchers.drain(guest),
            Doorbell::Panic => {
                guest.add_blemish();
                self.watchers.drain(guest);
                self.watchers.note(Kind::Panic, guest.tick, Pid::NONE, [0; 3]);
                self.crashed(guest, "panic")?;
            }
            Doorbell::Tick => return self.tick(guest),
        }
        Ok(None)
    }

    /// Virtual time has moved on.
    fn tick(&mut self, guest: &mut Incarnation) -> Result<Option<IncarnationEnd>, Error> {
        let Some(observer) = &guest.observer else { return Ok(None) };
        let now = observer.now(guest.machine.memory());
        let elapsed = guest.advance(now);
        self.watchers.tally.ticks += elapsed;
        self.watchers.drain(guest);
        let begin = Instant::now();
        let seen =
            guest.monitor.wants_audit(now) && self.watchers.audit(guest, self.lab.scenario.audit.whole)?;
        self.watchers.tally.stolen += begin.elapsed();
        if let Some(ending) = self.act(guest, seen)? {
            return Ok(Some(ending));
        }
        if let Some(expired) = guest.machine.bus_mut().watchdog.advance(elapsed)
            && let Some(ending) = self.expired(guest, expired)?
        {
            return Ok(Some(ending));
        }
        // A new incarnation has to last for a full period of the watchdog.
        let settled = now >= self.lab.scenario.watchdog.timeout_ticks;
        if settled && let Some(account) = &mut self.watchers.account {
            account.lasted();
        }
        if self.number == 1 {
            return Ok((now >= self.lab.scenario.vm.max_ticks).then_some(IncarnationEnd::Lasted));
        }
        Ok(settled.then(|| IncarnationEnd::Judged { healthy: self.judge(guest) }))
    }

    /// Everything that is done to the guest from outside at a tick is done here: after the audit, and before
    /// the watchdog counts. The guest stands still between two of its instructions, and sees the effects when
    /// it goes on.
    fn act(&mut self, guest: &mut Incarnation, seen: bool) -> Result<Option<IncarnationEnd>, Error> {
        if seen {
            self.command(guest);
        }
        self.watchers.watch_unread(guest, seen)?;
        self.inject(guest)
    }

    /// Records the monitor's orders and hands them to the guest, which executes them when it goes on.
    fn command(&mut self, guest: &mut Incarnation) {
        let Incarnation { observer: Some(observer), monitor, .. } = guest else { return };
        let orders = monitor.check(observer.guest(), observer.room());
        for order in &orders {
            guest.add_blemish();
            match *order {
                Order::Kill { pid, waited } => {
                    self.watchers.tally.kills += 1;
                    let values = [waited.min(u32::MAX.into()), 0, 0];
                    self.watchers.note(Kind::MonitorKill, guest.tick, pid, values);
                }
                Order::Restart { service, last } => {
                    self.watchers.tally.restarts += 1;
                    self.watchers.note(Kind::MonitorRestart, guest.tick, last, [service.into(), 0, 0]);
                }
            }
        }
        if let (Some(observer), false) = (&mut guest.observer, orders.is_empty()) {
            observer.command(guest.machine.memory(), orders.into_iter().map(Order::command));
        }
    }

    /// The kernel cannot continue: records where it was.
    fn crashed(&mut self, guest: &mut Incarnation, cause: &str) -> Result<(), Error> {
        let registers = guest.machine.registers()?;
        let mut report = self.watchers.events.places().report(guest.machine.memory(), &registers);
        report["incarnation"] = self.number.into();
        report["tick"] = guest.tick.into();
        report["cause"] = cause.into();
        self.crashes.push(report);
        Ok(())
    }

    /// A stage of the watchdog has expired.
    pub(super) fn expired(
        &mut self,
        guest: &mut Incarnation,
        expired: Expired,
    ) -> Result<Option<IncarnationEnd>, Error> {
        guest.add_blemish();
        self.watchers.note(Kind::Expired, guest.tick, Pid::NONE, [expired.stage.into(), 0, 0]);
        match expired.action {
            WatchdogAction::Nmi => {
                self.watchers.tally.nmis += 1;
                self.watchers.note(Kind::NmiSent, guest.tick, Pid::NONE, [0; 3]);
                guest.machine.nmi()?;
                Ok(None)
            }
            WatchdogAction::Reset => {
                self.watchers.tally.watchdog_resets += 1;
                Ok(Some(IncarnationEnd::Reset(ResetCause::Watchdog)))
            }
            WatchdogAction::Poweroff | WatchdogAction::Pause => Ok(Some(IncarnationEnd::Hung)),
            WatchdogAction::None | WatchdogAction::Debug => Ok(None),
        }
    }

    /// The clock has interrupted the guest. A silent guest's watchdog expires at once: no tick will count it
    /// down.
    fn kicked(&mut self, guest: &mut Incarnation) -> Result<Option<IncarnationEnd>, Error> {
        while self.clock.is_silent()? {
            self.watchers.events.leave_repeatable_time();
            self.clock.heard();
            let generation = guest.machine.bus().watchdog.generation();
            let Some(expired) = guest.machine.bus_mut().watchdog.expire(generation) else {
                return Ok(Some(IncarnationEnd::Hung));
            };
            if let Some(ending) = self.expired(guest, expired)? {
                return Ok(Some(ending));
            }
        }
        Ok(None)
    }
}
