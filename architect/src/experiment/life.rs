//! One incarnation of the guest: how it begins, how it is judged, and what is kept of it when it ends.

use std::fs::File;

use abi::Pid;
use abi::trace::Kind;
use serde_json::json;

use super::Run;
use super::console::Console;
use super::trapping::Trapping;
use crate::analysis::observer::Observer;
use crate::error::Error;
use crate::experiment::monitor::Monitor;
use crate::faults::code::Traps;
use crate::faults::injector::Injector;
use crate::guest::core_file::{self, Published};
use crate::report::postmortem::Case;
use crate::terms::IncarnationEnd;
use vmm::machine::Machine;

/// What belongs to one incarnation of the guest.
pub(super) struct Life {
    pub(super) machine: Machine<Console>,
    pub(super) observer: Option<Observer>,
    pub(super) monitor: Monitor,
    pub(super) trapping: Trapping,
    /// Virtual time at the last tick, and at the one before.
    pub(super) tick: u64,
    pub(super) ended: u64,
    /// Findings, panics, NMIs, kills, restarts: anything that a healthy guest does not have.
    pub(super) blemishes: u64,
    pub(super) was_blind: bool,
}

impl Run<'_> {
    /// An incarnation begins, with everything as at power-on. The only place where one does.
    pub(super) fn begin(&mut self) -> Result<Life, Error> {
        self.incarnation += 1;
        self.note(Kind::Start, 0, Pid::NONE, [self.incarnation.into(), self.lab.scenario.seed, 0]);
        self.ledger.power_on();
        self.detector.power_on();
        self.tags.power_on();
        let console = self.console.as_ref().map(File::try_clone).transpose();
        let console = Console::new(console.map_err(crate::error::VmmError::resource("the console file"))?);
        let mut machine = self.lab.machine(console)?;
        machine.attach(self.wall.kick());
        if !self.lab.scenario.audit.whole {
            machine.vm().log_writes()?;
        }
        self.wall.heard();
        let monitor = Monitor::new(self.lab.scenario.monitor, self.lab.scenario.fixes.monitor);
        // Who has been reset is left in peace.
        let faults = if self.incarnation == 1 { self.lab.scenario.faults() } else { Vec::new() };
        // Where there are none was told before anything ran.
        let traps = Traps::of(&faults, self.lab.config.image.bytes()).unwrap_or_default();
        self.injector = Injector::new(faults);
        let trapping = Trapping::new(traps);
        Ok(Life {
            machine,
            observer: None,
            monitor,
            trapping,
            tick: 0,
            ended: 0,
            blemishes: 0,
            was_blind: false,
        })
    }

    /// An incarnation has ended: takes what it leaves behind. The only place where one does.
    pub(super) fn end(&mut self, life: &mut Life, ending: IncarnationEnd) -> Result<(), Error> {
        self.take_trace(life);
        if let IncarnationEnd::Reset(cause) = ending {
            self.note(Kind::Reset, life.tick, Pid::NONE, [cause as u64, 0, 0]);
        }
        self.account(life);
        self.leave(life);
        self.ended = life.tick;
        self.post_mortem(life, ending)?;
        if self.lab.cores {
            self.write_core(life)?;
        }
        Ok(())
    }

    /// What is to be learned from it, if there is anything. The first incarnation is what a run is about, as with cores.
    fn post_mortem(&mut self, life: &Life, ending: IncarnationEnd) -> Result<(), Error> {
        if self.folder.is_some() {
            self.beats.name_places(self.events.places());
        }
        let taps =
            life.observer.as_ref().map_or(0, |observer| observer.info(life.machine.memory()).counters.taps);
        let case = Case {
            scenario: self.lab.scenario,
            incarnation: self.incarnation,
            tick: life.tick,
            ended: ending,
            history: &self.history,
            beats: &self.beats,
            writes: self.detector.writes(),
            agents: [taps, self.tags.true_positives, self.tags.false_positives],
        };
        if !case.is_due() {
            return Ok(());
        }
        if let Some(folder) = &mut self.folder {
            let name = named("post-mortem", self.incarnation);
            folder.write(&format!("{name}.json"), &format!("{:#}\n", case.document()))?;
            folder.write(&format!("{name}.txt"), &case.text())?;
        }
        self.cause.get_or_insert_with(|| case.short());
        Ok(())
    }

    /// Whether the new incarnation is healthy: it lives, it pets its watchdog, and nothing was found.
    pub(super) fn judge(&mut self, life: &Life) -> bool {
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

    /// The first incarnation is what a run is about; as with any kernel that crashed, its memory is `core.elf`.
    fn write_core(&mut self, life: &mut Life) -> Result<(), Error> {
        let Some(folder) = &mut self.folder else { return Ok(()) };
        let mut file = folder.file(&format!("{}.elf", named("core", self.incarnation)))?;
        let registers = life.machine.registers()?;
        let published = life.observer.as_ref().map(|observer| Published {
            info: observer.info_at(),
            kernel_root: observer.guest().info.kernel_root,
            image_sha256: &self.lab.fingerprints.image_sha256,
        });
        let written = core_file::write(&mut file, life.machine.memory(), &registers, published);
        written.map_err(|error| folder.failed(&error))
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
}

/// What a file of this incarnation is called: the first incarnation is what a run is about, and has the name alone.
fn named(name: &str, incarnation: u32) -> String {
    match incarnation {
        1 => name.to_owned(),
        later => format!("{name}-{later}"),
    }
}
