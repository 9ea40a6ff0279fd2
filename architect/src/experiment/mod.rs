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
use serde_json::Value;

use crate::analysis::detection::Detector;
use crate::analysis::hidden::HiddenSpaces;
use crate::analysis::ledger::Ledger;
use crate::analysis::observer::Observer;
use crate::analysis::tags::{Tags, ended_badly};
use crate::beats::Beats;
use crate::error::{Error, Report};
use crate::faults::digest::{Account, Digest, Left};
use crate::faults::injector::Injector;
use crate::faults::outcome::classify;
use crate::faults::unread::Unread;
use crate::files::folder::Folder;
use crate::guest::image::Fingerprints;
use crate::report::postmortem::History;
use crate::scenario::{Clock, Scenario};
use crate::terms::{IncarnationEnd, Outcome, ResetCause};
use crate::trace::events::Events;
use crate::trace::places::Places;
use crate::verdict::{Tally, Verdict};
use vmm::host::kvm::Kvm;
use vmm::machine::{Event, MachineConfig, Model};
use vmm::wall::{Wall, WallConfig, WallEvent};

use injection::descriptor;
use life::Life;
pub use warm::Warm;

mod audit;
mod console;
mod findings;
mod injection;
mod life;
pub mod monitor;
mod trapping;
mod warm;

/// How long a guest may run without ringing before real time takes over, not counting the time it waits for the host.
/// The slowest known host rings some twenty times a second under full load.
pub const SILENCE: Duration = Duration::from_secs(10);

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
    /// Where guests go on from, if [`Laboratory::warm`] was called.
    pub warm: Option<Warm>,
    /// What runs are compared with.
    pub compare: Compare<'a>,
}

/// What runs are compared with.
#[derive(Clone, Copy, Debug)]
pub enum Compare<'a> {
    /// Nothing.
    Nothing,
    /// Others will be compared with it: it gets a digest.
    Golden,
    /// The same, and it is watched for what is read in it.
    Watched,
    /// The golden run with this digest.
    With(&'a Digest),
}

impl<'a> Laboratory<'a> {
    /// Runs one guest in the calling thread. Its files go to the folder `out`, which exists only if there is a verdict.
    ///
    /// # Errors
    ///
    /// The machine or the folder failed, or a signal interrupted the run.
    pub fn experiment(&self, out: Option<&Path>) -> Result<Verdict<'a>, Error> {
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
            history: History::default(),
            cause: None,
            crashes: Vec::new(),
            tally: Tally::default(),
            injector: Injector::default(),
            account: match self.compare {
                Compare::Nothing => None,
                Compare::Golden | Compare::Watched | Compare::With(_) => Some(Account::default()),
            },
            unread: match self.compare {
                Compare::Watched => Some(Unread::new(self.scenario.vm.memory_mib)),
                _ => None,
            },
            left: Left { put_back: self.put_back(), ..Left::default() },
            changed_guest: false,
            changed: Changed::nothing(),
            quirks: 0,
            incarnation: 0,
            ended: 0,
        };
        if self.scenario.vm.clock == Clock::Apic {
            run.events.leave_repeatable_time();
        }
        let (ended, healthy_after_reset) = run.all_incarnations()?;

        let Run {
            folder,
            events,
            mut beats,
            tags,
            hidden,
            crashes,
            cause,
            mut tally,
            ledger,
            detector,
            quirks,
            incarnation,
            account,
            unread,
            left,
            ..
        } = run;
        tally.ticks = tally.ticks.max(1);
        beats.name_places(events.places());
        let (count, repeatable) = (events.count(), events.is_repeatable());
        let (trace_hash, marks) = events.finish().map_err(|error| match &folder {
            Some(folder) => folder.failed(&error),
            None => Error::Input(Report::new(error.to_string(), "the event stream", "check the free space")),
        })?;
        let digest = account.map(|account| account.finish(ended, left));
        let verdict = Verdict {
            scenario: self.scenario,
            fingerprints: self.fingerprints,
            quirks: if quirks & QUIRK_SYSCALL_FAULTS != 0 { vec!["syscall-faults"] } else { vec![] },
            tally,
            events: count,
            // Where real time ticks, a hash would stand for nothing.
            trace_hash: (self.scenario.vm.clock == Clock::Virtual).then_some(trace_hash),
            trace_marks: marks,
            repeatable,
            beats,
            tags,
            hidden,
            kernel_crashes: crashes,
            cause,
            detection: detector.against(&ledger),
            ended,
            effect: match (self.compare, &digest) {
                (Compare::With(golden), Some(digest)) => Some((classify(golden, digest), golden)),
                _ => None,
            },
            digest,
            unread,
            incarnations: incarnation,
            healthy_after_reset,
            wall: begin.elapsed(),
        };
        if let Some(mut folder) = folder {
            folder.write("verdict.json", &verdict.document())?;
            folder.keep();
        }
        Ok(verdict)
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
    history: History,
    cause: Option<String>,
    /// Where the kernel was when it could not go on.
    crashes: Vec<Value>,
    tally: Tally,
    injector: Injector,
    account: Option<Account>,
    unread: Option<Unread>,
    left: Left,
    /// A fault has written to the guest's memory.
    changed_guest: bool,
    /// What was written since the last audit; kept for its memory.
    changed: Changed,
    quirks: u32,
    incarnation: u32,
    /// Guest time at which the last life ended, ticks.
    ended: u64,
}

impl Run<'_> {
    /// Runs all incarnations. Returns the outcome, and whether the last incarnation is healthy if there was a reset.
    fn all_incarnations(&mut self) -> Result<(Outcome, Option<bool>), Error> {
        loop {
            let ending = self.incarnate()?;
            let again = self.incarnation > 1;
            let end = match ending {
                IncarnationEnd::Reset(_) if !again => continue,
                IncarnationEnd::Reset(_) => (Outcome::Crashed, Some(false)),
                IncarnationEnd::Hung => (Outcome::Hung, again.then_some(false)),
                IncarnationEnd::Judged { healthy: true } => (Outcome::Recovered, Some(true)),
                IncarnationEnd::Judged { healthy: false } => (Outcome::Crashed, Some(false)),
                IncarnationEnd::Lasted => {
                    let wrong = self.detector.count() + self.hidden.found;
                    (self.tally.lasted(wrong, self.tags.false_positives), None)
                }
            };
            self.note(Kind::End, self.ended, Pid::NONE, [0; 3]);
            return Ok(end);
        }
    }

    /// One life of the guest, from power-on to its end.
    fn incarnate(&mut self) -> Result<IncarnationEnd, Error> {
        let mut life = self.begin()?;
        let ending = loop {
            let ending = match life.machine.step()? {
                Event::Doorbell { reason, page } => self.doorbell(&mut life, reason, page)?,
                Event::Reset => Some(IncarnationEnd::Reset(ResetCause::Guest)),
                Event::TripleFault | Event::Crash(_) => {
                    self.crashed(&mut life, "processor")?;
                    Some(IncarnationEnd::Reset(ResetCause::Processor))
                }
                // The Matrix never halts or exits, so this is a failure of the vCPU.
                Event::Exit(_) | Event::Halted => Some(IncarnationEnd::Reset(ResetCause::Processor)),
                Event::Stray { at, bytes, .. } => {
                    self.note(Kind::Stray, life.tick, Pid::NONE, [bytes.into(), at, 0]);
                    None
                }
                Event::Trap => self.trapped(&mut life)?,
                Event::OutputWaits | Event::WatchdogChanged => None,
                Event::Kicked => self.look_outside(&mut life)?,
            };
            if let Some(ending) = ending {
                break ending;
            }
        };
        self.end(&mut life, ending)?;
        self.lab.retire(life.machine);
        Ok(ending)
    }

    fn doorbell(
        &mut self,
        life: &mut Life,
        reason: Doorbell,
        page: GuestPhys,
    ) -> Result<Option<IncarnationEnd>, Error> {
        self.wall.heard();
        match reason {
            Doorbell::Hello => match Observer::attach(life.machine.memory(), page, self.lab.scenario.audit) {
                Ok(observer) => {
                    life.observer = Some(observer);
                    life.trapping.plant(&life.machine);
                }
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
    fn tick(&mut self, life: &mut Life) -> Result<Option<IncarnationEnd>, Error> {
        let Some(observer) = &life.observer else { return Ok(None) };
        let now = observer.now(life.machine.memory());
        let elapsed = now.saturating_sub(life.tick);
        life.ended = std::mem::replace(&mut life.tick, now);
        self.tally.ticks += elapsed;
        self.take_trace(life);
        let begin = Instant::now();
        let seen = life.monitor.wants_audit(now) && self.audit(life)?;
        self.tally.stolen += begin.elapsed();
        if let Some(ending) = self.act(life, seen)? {
            return Ok(Some(ending));
        }
        if let Some(expired) = life.machine.bus_mut().watchdog.advance(elapsed)
            && let Some(ending) = self.expired(life, expired)?
        {
            return Ok(Some(ending));
        }
        if now >= self.lab.scenario.watchdog.timeout_ticks
            && let Some(account) = &mut self.account
        {
            account.lasted();
        }
        if self.incarnation == 1 {
            return Ok((now >= self.lab.scenario.vm.max_ticks).then_some(IncarnationEnd::Lasted));
        }
        // A full period of the watchdog is what a new incarnation must stand.
        if now < self.lab.scenario.watchdog.timeout_ticks {
            return Ok(None);
        }
        let healthy = self.judge(life);
        Ok(Some(IncarnationEnd::Judged { healthy }))
    }

    /// All that is done to the guest from outside at a tick is done here: after it has been looked at, and before the
    /// watchdog counts. It stands still between two of its instructions, and finds what was done when it goes on.
    fn act(&mut self, life: &mut Life, seen: bool) -> Result<Option<IncarnationEnd>, Error> {
        if seen {
            self.command(life);
        }
        self.watch(life, seen)?;
        self.inject(life)
    }

    /// Takes the guest's new records.
    fn take_trace(&mut self, life: &mut Life) {
        let Life { machine, observer: Some(observer), blemishes, .. } = life else { return };
        let (memory, table) = (machine.memory(), observer.process_table());
        observer.drain(machine.memory(), |record| {
            self.events.push(*record);
            if let Some(account) = &mut self.account {
                account.record(record);
            }
            if let Some(unread) = &mut self.unread {
                unread.record(record);
            }
            self.injector.record(record, |pid| descriptor(memory, table, pid));
            self.ledger.apply(record);
            self.beats.event(record);
            self.history.event(record);
            let wrong_tag = self.tags.apply(record);
            let kind = Kind::from_raw(record.kind);
            // How a violator ends is his own affair.
            let crashed = ended_badly(record) && !self.tags.has(record.pid);
            let damaged = kind == Some(Kind::Damaged);
            self.tally.crashes += u64::from(crashed);
            self.tally.damaged += u64::from(damaged);
            if crashed || damaged || wrong_tag || kind == Some(Kind::Nmi) {
                *blemishes += 1;
            }
        });
        self.beats.traced(machine.memory());
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
    fn expired(&mut self, life: &mut Life, expired: Expired) -> Result<Option<IncarnationEnd>, Error> {
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
                Ok(Some(IncarnationEnd::Reset(ResetCause::Watchdog)))
            }
            WatchdogAction::Poweroff | WatchdogAction::Pause => Ok(Some(IncarnationEnd::Hung)),
            WatchdogAction::None | WatchdogAction::Debug => Ok(None),
        }
    }

    /// What happened outside of the guest.
    fn look_outside(&mut self, life: &mut Life) -> Result<Option<IncarnationEnd>, Error> {
        while let Ok(event) = self.wall_events.try_recv() {
            match event {
                WallEvent::Signal(signal) => return Err(Error::Interrupted(signal)),
                WallEvent::Silence => {
                    self.events.leave_repeatable_time();
                    self.wall.heard();
                    let generation = life.machine.bus().watchdog.generation();
                    let Some(expired) = life.machine.bus_mut().watchdog.expire(generation) else {
                        return Ok(Some(IncarnationEnd::Hung));
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

    /// An event of our own.
    fn note(&mut self, kind: Kind, tick: u64, pid: Pid, [a, b, c]: [u64; 3]) {
        self.note_record(Record {
            tick: tick as u32,
            kind: kind as u16,
            reserved: 0,
            pid,
            a: a as u32,
            b,
            c,
        });
    }

    fn note_record(&mut self, record: Record) {
        self.events.push(record);
        self.beats.event(&record);
        self.history.event(&record);
        if let Some(account) = &mut self.account {
            account.record(&record);
        }
        if let Some(unread) = &mut self.unread {
            unread.record(&record);
        }
        self.injector.record(&record, |_| None);
    }
}
