//! One guest of a scenario, from its first incarnation to the verdict.
//!
//! Everything is decided at the guest's doorbells. At each tick: the trace is taken, the page tables are audited, the
//! monitor gives its orders, the watchdog is counted down. A guest that never rings again falls back to real time, and
//! what follows is marked so; with a clock of real time that is so from the beginning.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use abi::info::{Doorbell, QUIRK_SYSCALL_FAULTS};
use abi::layout::KERNEL_BASE;
use abi::trace::{Kind, Record};
use abi::{GuestPhys, Pid};
use devices::watchdog::{Expired, WatchdogAction};
use introspect::Changed;
use introspect::policy::Finding;
use serde_json::{Value, json};

use crate::beats::{Beats, View};
use crate::detection::Detector;
use crate::dump::{self, Published};
use crate::error::{Error, Report};
use crate::events::Events;
use crate::folder::Folder;
use crate::hidden::HiddenSpaces;
use crate::kvm::Kvm;
use crate::ledger::Ledger;
use crate::machine::{Event, Machine, MachineConfig, Model};
use crate::monitor::{Monitor, Order};
use crate::observer::Observer;
use crate::places::Places;
use crate::scenario::{Clock, Scenario};
use crate::tags::Tags;
use crate::verdict::{Fingerprints, Outcome, Tally, Verdict};
use crate::wall::{Wall, WallConfig, WallEvent};

use ending::{Cause, Console, Ending};

mod ending;

/// What all guests of a run have in common.
pub struct Laboratory<'a> {
    /// The scenario, with its defaults.
    pub scenario: &'a Scenario,
    /// What machines are built from.
    pub config: &'a MachineConfig,
    /// What they are made of, by their hashes.
    pub fingerprints: &'a Fingerprints,
    /// The way to KVM.
    pub kvm: &'a Kvm,
    /// The model of machine.
    pub model: &'a Model,
    /// How long a guest may go without ringing before real time takes over.
    pub silence: Duration,
    /// Whether each incarnation leaves a core file in the run's folder.
    pub cores: bool,
}

/// What became of a guest.
pub enum End<'a> {
    /// There is a verdict.
    Verdict(Box<Verdict<'a>>),
    /// This signal ended it.
    Signal(i32),
}

impl<'a> Laboratory<'a> {
    /// Runs one guest in the calling thread; its files go to the folder `out`, which is there only if there is a verdict.
    pub fn experiment(&self, out: Option<&Path>) -> Result<End<'a>, Error> {
        let begin = Instant::now();
        let mut folder = out.map(Folder::create).transpose()?;
        let (mut events, mut console) = (None, None);
        if let Some(folder) = &mut folder {
            folder.write("scenario.toml", &self.scenario.to_toml())?;
            events = Some(folder.file("events.jsonl")?);
            console = Some(folder.file("console.log")?);
        }
        let (wall, wall_events) =
            Wall::spawn(WallConfig { silence: Some(self.silence), signals: true, ..WallConfig::default() })?;
        let mut run = Run {
            lab: self,
            wall,
            wall_events,
            folder,
            console,
            events: Events::new(events, Places::of(self.config.image.bytes(), KERNEL_BASE)),
            ledger: Ledger::default(),
            beats: Beats::default(),
            tags: Tags::default(),
            detector: Detector::default(),
            hidden: HiddenSpaces::default(),
            crashes: Vec::new(),
            tally: Tally::default(),
            changed: Changed::nothing(),
            quirks: 0,
            incarnation: 0,
            ended: 0,
        };
        if self.scenario.vm.clock == Clock::Apic {
            run.events.leave_repeatable_time();
        }
        let (outcome, healthy_after_reset) = match run.all_incarnations()? {
            Ok(end) => end,
            Err(signal) => return Ok(End::Signal(signal)),
        };

        let Run {
            folder,
            events,
            mut beats,
            tags,
            hidden,
            crashes,
            mut tally,
            ledger,
            detector,
            quirks,
            incarnation,
            ..
        } = run;
        tally.ticks = tally.ticks.max(1);
        beats.name_places(events.places());
        let (count, repeatable) = (events.count(), events.is_repeatable());
        let trace_hash = events.finish().map_err(|error| match &folder {
            Some(folder) => folder.failed(&error),
            None => Error::Input(Report::new(error.to_string(), "the event stream", "check the free space")),
        })?;
        let verdict = Verdict {
            scenario: self.scenario,
            fingerprints: self.fingerprints,
            quirks: if quirks & QUIRK_SYSCALL_FAULTS != 0 { vec!["syscall-faults"] } else { vec![] },
            tally,
            events: count,
            // Where real time ticks, a hash would stand for nothing.
            trace_hash: (self.scenario.vm.clock == Clock::Virtual).then_some(trace_hash),
            repeatable,
            beats,
            tags,
            hidden,
            kernel_crashes: crashes,
            detection: detector.against(&ledger),
            outcome,
            incarnations: incarnation,
            healthy_after_reset,
            wall: begin.elapsed(),
        };
        if let Some(mut folder) = folder {
            folder.write("verdict.json", &verdict.document())?;
            folder.keep();
        }
        Ok(End::Verdict(Box::new(verdict)))
    }
}

/// A run in progress.
struct Run<'a> {
    lab: &'a Laboratory<'a>,
    wall: Wall,
    wall_events: Receiver<WallEvent>,
    folder: Option<Folder>,
    console: Option<File>,
    events: Events<'a>,
    ledger: Ledger,
    beats: Beats,
    tags: Tags,
    detector: Detector,
    hidden: HiddenSpaces,
    /// Where the kernel was when it could not go on.
    crashes: Vec<Value>,
    tally: Tally,
    /// What was written since the last audit; kept for its memory.
    changed: Changed,
    quirks: u32,
    incarnation: u32,
    /// Guest time at which the last life ended, ticks.
    ended: u64,
}

/// What belongs to one incarnation of the guest.
struct Life {
    machine: Machine<Console>,
    observer: Option<Observer>,
    monitor: Monitor,
    /// Virtual time at the last tick, and at the one before.
    tick: u64,
    ended: u64,
    /// Findings, panics, NMIs, kills, restarts: anything that a healthy guest does not have.
    blemishes: u64,
    was_blind: bool,
}

impl Run<'_> {
    /// All incarnations. `Err` is a signal that ended the run.
    fn all_incarnations(&mut self) -> Result<Result<(Outcome, Option<bool>), i32>, Error> {
        loop {
            let ending = self.incarnate()?;
            let again = self.incarnation > 1;
            let end = match ending {
                Ending::Signal(number) => return Ok(Err(number)),
                Ending::Reset(_) if !again => continue,
                Ending::Reset(_) => (Outcome::Crashed, Some(false)),
                Ending::Hung => (Outcome::Hung, again.then_some(false)),
                Ending::Settled { healthy: true } => (Outcome::Recovered, Some(true)),
                Ending::Settled { healthy: false } => (Outcome::Crashed, Some(false)),
                Ending::Lasted => {
                    let wrong = self.detector.count() + self.hidden.found;
                    (self.tally.lasted(wrong, self.tags.false_positives), None)
                }
            };
            self.note(Kind::End, self.ended, Pid::NONE, [0; 3]);
            return Ok(Ok(end));
        }
    }

    /// One life of the guest, from power-on to its end.
    fn incarnate(&mut self) -> Result<Ending, Error> {
        self.incarnation += 1;
        self.note(Kind::Start, 0, Pid::NONE, [self.incarnation.into(), self.lab.scenario.seed, 0]);
        self.ledger.power_on();
        self.detector.power_on();
        self.tags.power_on();
        let console = self.console.as_ref().map(File::try_clone).transpose();
        let console = Console(console.map_err(crate::VmmError::resource("the console file"))?);
        let mut machine = Machine::new(self.lab.kvm, self.lab.model, self.lab.config, console)?;
        machine.attach(self.wall.kick());
        if !self.lab.scenario.audit.whole {
            machine.vm().log_writes()?;
        }
        self.wall.heard();
        let monitor = Monitor::new(self.lab.scenario.monitor, self.lab.scenario.fixes.monitor);
        let mut life =
            Life { machine, observer: None, monitor, tick: 0, ended: 0, blemishes: 0, was_blind: false };
        let ending = loop {
            let ending = match life.machine.step()? {
                Event::Doorbell { reason, page } => self.doorbell(&mut life, reason, page)?,
                Event::Reset => Some(Ending::Reset(Cause::Guest)),
                Event::TripleFault | Event::Crash(_) => {
                    self.crashed(&mut life, "processor")?;
                    Some(Ending::Reset(Cause::Processor))
                }
                // The Matrix does neither: its processor is past hoping for.
                Event::Exit(_) | Event::Halted => Some(Ending::Reset(Cause::Processor)),
                Event::Stray { at, bytes, .. } => {
                    self.note(Kind::Stray, life.tick, Pid::NONE, [bytes.into(), at, 0]);
                    None
                }
                Event::OutputWaits | Event::WatchdogChanged => None,
                Event::Kicked => self.look_outside(&mut life)?,
            };
            if let Some(ending) = ending {
                break ending;
            }
        };
        self.take_trace(&mut life);
        if let Ending::Reset(cause) = ending {
            self.note(Kind::Reset, life.tick, Pid::NONE, [cause as u64, 0, 0]);
        }
        self.account(&mut life);
        self.ended = life.tick;
        if self.lab.cores && !matches!(ending, Ending::Signal(_)) {
            self.write_core(&mut life)?;
        }
        Ok(ending)
    }

    /// The first incarnation is what a run is about; as with any kernel that crashed, its memory is `core.elf`.
    fn write_core(&mut self, life: &mut Life) -> Result<(), Error> {
        let Some(folder) = &mut self.folder else { return Ok(()) };
        let name = match self.incarnation {
            1 => "core.elf".to_owned(),
            later => format!("core-{later}.elf"),
        };
        let mut file = folder.file(&name)?;
        let registers = life.machine.registers()?;
        let published = life.observer.as_ref().map(|observer| Published {
            info: observer.info_at(),
            kernel_root: observer.guest().info.kernel_root,
            image_sha256: &self.lab.fingerprints.image_sha256,
        });
        let written = dump::write(&mut file, life.machine.memory(), &registers, published);
        written.map_err(|error| folder.failed(&error))
    }

    fn doorbell(
        &mut self,
        life: &mut Life,
        reason: Doorbell,
        page: GuestPhys,
    ) -> Result<Option<Ending>, Error> {
        self.wall.heard();
        match reason {
            Doorbell::Hello => match Observer::attach(life.machine.memory(), page, self.lab.scenario.audit) {
                Ok(observer) => life.observer = Some(observer),
                Err(_) => self.blind(life),
            },
            Doorbell::TraceFull | Doorbell::Critical => self.take_trace(life),
            Doorbell::Panic => {
                life.blemishes += 1;
                self.take_trace(life);
                self.note(Kind::Panic, life.tick, Pid::NONE, [0; 3]);
                self.crashed(life, "panic")?;
            }
            Doorbell::Tick => return self.tick(life),
        }
        Ok(None)
    }

    /// Virtual time has moved on.
    fn tick(&mut self, life: &mut Life) -> Result<Option<Ending>, Error> {
        let Some(observer) = &life.observer else { return Ok(None) };
        let now = observer.now(life.machine.memory());
        let elapsed = now.saturating_sub(life.tick);
        life.ended = std::mem::replace(&mut life.tick, now);
        self.tally.ticks += elapsed;
        self.take_trace(life);
        if life.monitor.wants_audit(now) {
            self.audit(life)?;
        }
        let expired = life.machine.bus_mut().watchdog.advance(elapsed);
        let ending = expired.map(|expired| self.expired(life, expired)).transpose()?.flatten();
        if ending.is_some() {
            return Ok(ending);
        }
        if self.incarnation == 1 {
            return Ok((now >= self.lab.scenario.vm.max_ticks).then_some(Ending::Lasted));
        }
        // A full period of the watchdog is what a new incarnation must stand.
        if now < self.lab.scenario.watchdog.timeout_ticks {
            return Ok(None);
        }
        let healthy = self.judge(life);
        Ok(Some(Ending::Settled { healthy }))
    }

    /// Takes the guest's new records.
    fn take_trace(&mut self, life: &mut Life) {
        let Life { machine, observer: Some(observer), blemishes, .. } = life else { return };
        observer.drain(machine.memory(), |record| {
            self.events.push(*record);
            self.ledger.apply(record);
            self.beats.event(record);
            let wrong_tag = self.tags.apply(record);
            let kind = Kind::from_raw(record.kind);
            let ended_badly = kind == Some(Kind::Fault) || kind == Some(Kind::Exit) && record.a != 0;
            // How a violator ends is his own affair.
            let crashed = ended_badly && !self.tags.has(record.pid);
            let damaged = kind == Some(Kind::Damaged);
            self.tally.crashes += u64::from(crashed);
            self.tally.damaged += u64::from(damaged);
            if crashed || damaged || wrong_tag || kind == Some(Kind::Nmi) {
                *blemishes += 1;
            }
        });
        self.beats.traced(machine.memory());
    }

    /// Reads the guest's tables and page tables, notes what is new, and lets the monitor look at them.
    fn audit(&mut self, life: &mut Life) -> Result<(), Error> {
        let Some(mut observer) = life.observer.take() else { return Ok(()) };
        if observer.scans_at(life.tick) {
            observer.processor_has(GuestPhys(life.machine.registers()?.system.cr3));
        }
        self.tally.audits += 1;
        self.ledger.audit();
        self.detector.look(life.tick, &self.ledger, life.machine.memory());
        self.changed.clear();
        match self.lab.scenario.audit.whole {
            true => self.changed.add_everything(),
            false => life.machine.take_written(&mut self.changed),
        }
        if observer.audit(life.machine.memory(), &self.changed).is_err() {
            self.blind(life);
        } else {
            self.beats.audit(&View {
                tick: life.tick,
                guest: observer.guest(),
                map: observer.map(),
                memory: life.machine.memory(),
            });
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
            if !observer.is_complete() {
                self.blind(life);
            }
            self.monitor(life, &mut observer);
        }
        life.observer = Some(observer);
        Ok(())
    }

    /// What the monitor wants done is noted and handed to the guest, which does it when it goes on.
    fn monitor(&mut self, life: &mut Life, observer: &mut Observer) {
        let orders = life.monitor.look(observer.guest(), observer.room());
        for order in &orders {
            life.blemishes += 1;
            match *order {
                Order::Kill { pid, waited } => {
                    self.tally.kills += 1;
                    self.note(Kind::MonitorKill, life.tick, pid, [waited.min(u32::MAX.into()), 0, 0]);
                }
                Order::Restart { service, last } => {
                    self.tally.restarts += 1;
                    self.note(Kind::MonitorRestart, life.tick, last, [service.into(), 0, 0]);
                }
            }
        }
        if !orders.is_empty() {
            observer.command(life.machine.memory(), orders.into_iter().map(Order::command));
        }
    }

    /// The guest's own tables are damaged; said once in each life.
    fn blind(&mut self, life: &mut Life) {
        self.tally.blind_audits += 1;
        life.blemishes += 1;
        if !std::mem::replace(&mut life.was_blind, true) {
            self.note(Kind::Blind, life.tick, Pid::NONE, [0; 3]);
        }
    }

    /// The kernel cannot go on: notes where it was.
    fn crashed(&mut self, life: &mut Life, cause: &str) -> Result<(), Error> {
        let registers = life.machine.registers()?;
        let mut report = self.events.places().report(life.machine.memory(), &registers);
        report["incarnation"] = self.incarnation.into();
        report["tick"] = life.tick.into();
        report["cause"] = cause.into();
        self.crashes.push(report);
        Ok(())
    }

    /// The watchdog has expired.
    fn expired(&mut self, life: &mut Life, expired: Expired) -> Result<Option<Ending>, Error> {
        life.blemishes += 1;
        self.note(Kind::Expired, life.tick, Pid::NONE, [expired.stage.into(), 0, 0]);
        match expired.action {
            WatchdogAction::Nmi => {
                self.tally.nmis += 1;
                self.note(Kind::NmiSent, life.tick, Pid::NONE, [0; 3]);
                life.machine.nmi()?;
                Ok(None)
            }
            WatchdogAction::Reset => {
                self.tally.watchdog_resets += 1;
                Ok(Some(Ending::Reset(Cause::Watchdog)))
            }
            WatchdogAction::Poweroff | WatchdogAction::Pause => Ok(Some(Ending::Hung)),
            WatchdogAction::None | WatchdogAction::Debug => Ok(None),
        }
    }

    /// What happened outside of the guest.
    fn look_outside(&mut self, life: &mut Life) -> Result<Option<Ending>, Error> {
        while let Ok(event) = self.wall_events.try_recv() {
            match event {
                WallEvent::Signal(number) => return Ok(Some(Ending::Signal(number))),
                WallEvent::Silence => {
                    self.events.leave_repeatable_time();
                    self.wall.heard();
                    let generation = life.machine.bus().watchdog.generation();
                    let Some(expired) = life.machine.bus_mut().watchdog.expire(generation) else {
                        return Ok(Some(Ending::Hung));
                    };
                    if let Some(ending) = self.expired(life, expired)? {
                        return Ok(Some(ending));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether the new incarnation is healthy: it lives, it pets its watchdog, and nothing was found.
    fn judge(&mut self, life: &Life) -> bool {
        let Some(observer) = &life.observer else { return false };
        let info = &observer.guest().info;
        let healthy = life.blemishes == 0 && info.counters.pets > 0 && info.alive > 0;
        if healthy {
            let evidence = json!({
                "incarnation": self.incarnation,
                "ticks_watched": life.tick,
                "alive": info.alive,
                "pets": info.counters.pets,
                "findings": 0,
            });
            self.beats.came_up(life.tick, evidence);
        }
        healthy
    }

    /// Adds up a life that has ended.
    fn account(&mut self, life: &mut Life) {
        self.tally.pets += life.machine.bus().counters().watchdog.pets;
        self.tally.exits += life.machine.counts().exits;
        if let Some(observer) = &life.observer {
            let info = observer.info(life.machine.memory());
            self.quirks |= info.quirks;
            self.tally.subsystems.add(&info.counters);
        }
        // A console that cannot be written does not change the run; the file is the user's own.
        let _ = life.machine.flush_console();
    }

    /// An event of our own.
    fn note(&mut self, kind: Kind, tick: u64, pid: Pid, [a, b, c]: [u64; 3]) {
        let record = Record { tick: tick as u32, kind: kind as u16, reserved: 0, pid, a: a as u32, b, c };
        self.events.push(record);
        self.beats.event(&record);
    }
}

mod findings;
