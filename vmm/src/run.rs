//! `architect run`: one scenario from its first incarnation to the verdict.
//!
//! Everything is decided at the guest's doorbells. At each tick: the trace is taken, the page tables are audited, the
//! watchdog is counted down. A guest that never rings again falls back to real time, and what follows is marked so.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use abi::info::{Doorbell, QUIRK_SYSCALL_FAULTS};
use abi::trace::{Kind, Record};
use abi::{GuestPhys, Pid};
use devices::watchdog::{Expired, Timeout, WatchdogAction};
use introspect::policy::{Finding, What};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::beats::{Beat, Beats};
use crate::cli::RunArgs;
use crate::error::{Error, Report};
use crate::events::Events;
use crate::folder::Folder;
use crate::kvm::Kvm;
use crate::ledger::{Ledger, Sharing};
use crate::loader::{Blob, Image};
use crate::machine::{Event, Machine, MachineConfig, Model};
use crate::observer::Observer;
use crate::scenario::Scenario;
use crate::summary;
use crate::verdict::{Detection, Outcome, Tally, Verdict};
use crate::wall::{Wall, WallConfig, WallEvent};

/// The Matrix, as built with this VMM.
static MATRIX: &[u8] = include_bytes!(env!("MATRIX_IMAGE"));

/// How long a guest may go without ringing before real time takes over. The slowest known host rings some twenty times
/// a second under full load.
const SILENCE: Duration = Duration::from_secs(10);

/// Where a guest's console goes: a file, or nowhere.
struct Console(Option<File>);

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(bytes.len()), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), File::flush)
    }
}

/// Why a machine was reset; the numbers of [`Kind::Reset`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    Guest = 1,
    Watchdog = 2,
    /// Triple fault, or an instruction that the host's KVM cannot carry out: the same to the guest.
    Processor = 3,
}

/// How an incarnation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// The run's time is over.
    Lasted,
    /// After a reset: long enough to judge it.
    Settled {
        healthy: bool,
    },
    Reset(Cause),
    /// No progress, and no watchdog to find out.
    Hung,
    Signal(i32),
}

/// Runs a scenario; gives the exit status.
pub fn run(args: &RunArgs) -> Result<u8, Error> {
    let begin = Instant::now();
    let scenario = Scenario::read(&args.scenario, args.seed, &args.sets)?;
    let kvm = Kvm::open()?;
    let mut folder = args.out.as_deref().map(Folder::create).transpose()?;
    let (mut events, mut console) = (None, None);
    if let Some(folder) = &mut folder {
        folder.write("scenario.toml", &scenario.to_toml())?;
        events = Some(folder.file("events.jsonl")?);
        console = Some(folder.file("console.log")?);
    }
    let (wall, wall_events) =
        Wall::spawn(WallConfig { silence: Some(SILENCE), signals: true, ..WallConfig::default() })?;
    let mut run = Run {
        config: machine_config(&scenario)?,
        model: Model::of(&kvm)?,
        kvm,
        wall,
        wall_events,
        console,
        events: Events::new(events),
        ledger: Ledger::default(),
        beats: Beats::default(),
        detected: BTreeSet::new(),
        tally: Tally::default(),
        quirks: 0,
        incarnation: 0,
        scenario: &scenario,
    };
    let (outcome, healthy_after_reset) = match run.all_incarnations()? {
        Ok(end) => end,
        Err(signal) => return Ok(128_u8.saturating_add(u8::try_from(signal).unwrap_or(0))),
    };

    let Run { events, beats, mut tally, ledger, detected, quirks, incarnation, .. } = run;
    tally.ticks = tally.ticks.max(1);
    let (count, repeatable) = (events.count(), events.is_repeatable());
    let trace_hash = events.finish().map_err(|error| match &folder {
        Some(folder) => folder.failed(&error),
        None => Error::Input(Report::new(error.to_string(), "the event stream", "check the free space")),
    })?;
    let verdict = Verdict {
        scenario: &scenario,
        image_sha256: Sha256::digest(MATRIX).iter().map(|byte| format!("{byte:02x}")).collect(),
        quirks: if quirks & QUIRK_SYSCALL_FAULTS != 0 { vec!["syscall-faults"] } else { vec![] },
        tally,
        events: count,
        trace_hash,
        repeatable,
        beats: &beats,
        detection: Detection {
            detected: detected.len() as u64,
            actual: ledger.actual(),
            true_positives: detected.iter().filter(|sharing| ledger.confirms(sharing)).count() as u64,
            between_audits: ledger.unseen(),
        },
        outcome,
        incarnations: incarnation,
        healthy_after_reset,
        wall_ms: begin.elapsed().as_secs_f64() * 1000.0,
    };
    let document = format!("{:#}\n", verdict.to_json());
    if let Some(mut folder) = folder {
        folder.write("verdict.json", &document)?;
        folder.keep();
    }
    if args.json {
        print(&document)?;
    } else {
        print(&summary::text(&verdict))?;
    }
    let disappointments = verdict.disappointments();
    if disappointments.is_empty() {
        return Ok(0);
    }
    Err(Error::Expectation(Report::new(
        disappointments.join("; "),
        format!("{}, section expect", args.scenario.display()),
        "look at the verdict and the events; another seed or load may behave as expected",
    )))
}

fn print(text: &str) -> Result<(), Error> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| {
        Error::Input(Report::new(error.to_string(), "standard output", "check the reader of standard output"))
    })
}

fn machine_config(scenario: &Scenario) -> Result<MachineConfig, Error> {
    let image = Image::check(Blob { name: "the Matrix".into(), bytes: MATRIX.into() })?;
    let cmdline = scenario.command_line();
    image.fits(scenario.vm.memory_mib, &cmdline, None)?;
    Ok(MachineConfig {
        memory_mib: scenario.vm.memory_mib,
        image,
        cmdline,
        module: None,
        timeout: Timeout::Ticks(scenario.watchdog.timeout_ticks),
        stages: scenario.stages(),
    })
}

/// A run in progress.
struct Run<'a> {
    scenario: &'a Scenario,
    config: MachineConfig,
    kvm: Kvm,
    model: Model,
    wall: Wall,
    wall_events: Receiver<WallEvent>,
    console: Option<File>,
    events: Events,
    ledger: Ledger,
    beats: Beats,
    detected: BTreeSet<Sharing>,
    tally: Tally,
    quirks: u32,
    incarnation: u32,
}

/// What belongs to one incarnation of the guest.
struct Life {
    machine: Machine<Console>,
    observer: Option<Observer>,
    /// Virtual time at the last tick.
    tick: u64,
    /// Findings, panics, NMIs: anything that a healthy guest does not have.
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
                Ending::Lasted if self.detected.is_empty() && self.tally.crashes == 0 => {
                    (Outcome::Healthy, None)
                }
                Ending::Lasted => (Outcome::Corrupted, None),
            };
            self.note(Kind::End, 0, Pid::NONE, [0; 3]);
            return Ok(Ok(end));
        }
    }

    /// One life of the guest, from power-on to its end.
    fn incarnate(&mut self) -> Result<Ending, Error> {
        self.incarnation += 1;
        self.note(Kind::Start, 0, Pid::NONE, [self.incarnation.into(), self.scenario.seed, 0]);
        self.ledger.power_on();
        let console = self.console.as_ref().map(File::try_clone).transpose();
        let console = Console(console.map_err(crate::VmmError::resource("the console file"))?);
        let mut machine = Machine::new(&self.kvm, &self.model, &self.config, console)?;
        machine.attach(self.wall.kick());
        self.wall.heard();
        let mut life = Life { machine, observer: None, tick: 0, blemishes: 0, was_blind: false };
        let ending = loop {
            let ending = match life.machine.step()? {
                Event::Doorbell { reason, page } => self.doorbell(&mut life, reason, page)?,
                Event::Reset => Some(Ending::Reset(Cause::Guest)),
                Event::TripleFault | Event::Crash(_) => Some(Ending::Reset(Cause::Processor)),
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
        Ok(ending)
    }

    fn doorbell(
        &mut self,
        life: &mut Life,
        reason: Doorbell,
        page: GuestPhys,
    ) -> Result<Option<Ending>, Error> {
        self.wall.heard();
        match reason {
            Doorbell::Hello => match Observer::attach(life.machine.memory(), page) {
                Ok(observer) => life.observer = Some(observer),
                Err(_) => self.blind(life),
            },
            Doorbell::TraceFull | Doorbell::Critical => self.take_trace(life),
            Doorbell::Panic => {
                life.blemishes += 1;
                self.take_trace(life);
                self.note(Kind::Panic, life.tick, Pid::NONE, [0; 3]);
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
        life.tick = now;
        self.tally.ticks += elapsed;
        self.take_trace(life);
        self.audit(life);
        let expired = life.machine.bus_mut().watchdog.advance(elapsed);
        let ending = expired.map(|expired| self.expired(life, expired)).transpose()?.flatten();
        if ending.is_some() {
            return Ok(ending);
        }
        if self.incarnation == 1 {
            return Ok((now >= self.scenario.vm.max_ticks).then_some(Ending::Lasted));
        }
        // A full period of the watchdog is what a new incarnation must stand.
        if now < self.scenario.watchdog.timeout_ticks {
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
            let ended_badly =
                record.kind == Kind::Fault as u16 || record.kind == Kind::Exit as u16 && record.a != 0;
            if ended_badly || record.kind == Kind::Nmi as u16 {
                *blemishes += 1;
            }
            self.tally.crashes += u64::from(ended_badly);
        });
    }

    /// Reads the guest's tables and page tables, and notes what is new.
    fn audit(&mut self, life: &mut Life) {
        let Some(mut observer) = life.observer.take() else { return };
        self.tally.audits += 1;
        self.ledger.audit();
        if observer.audit(life.machine.memory()).is_err() {
            self.blind(life);
        } else {
            self.beats.tables(observer.guest());
            let found: Vec<Finding> = observer.violations().cloned().collect();
            for finding in &found {
                self.found(life, &mut observer, finding);
            }
            if !observer.is_complete() {
                self.blind(life);
            }
        }
        life.observer = Some(observer);
    }

    fn found(&mut self, life: &mut Life, observer: &mut Observer, finding: &Finding) {
        let owner = finding.fact.owner();
        let (kind, beat) = match finding.what {
            What::Crossing => (Kind::CrossingFound, Beat::Crossing),
            _ => (Kind::LeakFound, Beat::Leak),
        };
        for party in
            finding.parties.iter().filter(|party| party.standing == introspect::policy::Standing::Uncovered)
        {
            let sharing = Sharing { frame: finding.frame, owner, other: party.pid };
            if !observer.is_new(finding.what, sharing) {
                continue;
            }
            life.blemishes += 1;
            self.detected.insert(sharing);
            let values = match kind {
                Kind::CrossingFound => {
                    [finding.fact.kind().map_or(0, |kind| kind as u64), finding.frame.0, party.virt.0]
                }
                _ => [0, finding.frame.0, party.pid.0.into()],
            };
            let about = if kind == Kind::CrossingFound { party.pid } else { owner };
            self.note(kind, life.tick, about, values);
            self.beats.finding(beat, life.tick, finding, observer.guest());
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
            self.quirks |= observer.guest().info.quirks;
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
