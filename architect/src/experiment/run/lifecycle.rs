//! How an incarnation starts, how it is judged, and what is recorded when it ends.

use abi::Pid;
use abi::trace::Kind;
use serde_json::json;

use crate::error::Error;
use crate::experiment::incarnation::{Incarnation, Trapping};
use crate::experiment::laboratory::Compare;
use crate::experiment::monitor::Monitor;
use crate::experiment::run::driver::Run;
use crate::faults::code::Traps;
use crate::faults::injector::Injector;
use crate::faults::residue;
use crate::faults::target::Scene;
use crate::guest::core_file::{self, Published};
use crate::report::postmortem::Case;
use crate::terms::IncarnationEnd;
use introspect::matrix::guest::Guest;

impl Run<'_> {
    /// Starts an incarnation, with everything as at power-on. The only place where one starts.
    pub(super) fn begin(&mut self) -> Result<Incarnation, Error> {
        let scenario = self.lab.scenario;
        self.number = self.watchers.power_on(scenario.seed);
        let mut machine = self.lab.machine(self.files.console()?)?;
        machine.attach(self.clock.kick());
        if !scenario.audit.whole {
            machine.vm().log_writes()?;
        }
        self.clock.heard();
        let monitor = Monitor::new(scenario.monitor, scenario.fixes.monitor);
        // Faults are injected into the first incarnation only.
        let faults = if self.number == 1 { scenario.faults() } else { Vec::new() };
        // `check_code` rejected unresolvable trap addresses before the run.
        let traps = Traps::of(&faults, self.lab.config.image.bytes()).unwrap_or_default();
        self.watchers.injector = Injector::new(faults);
        Ok(Incarnation::new(machine, monitor, Trapping::new(traps)))
    }

    /// Ends an incarnation: takes what it leaves behind. The only place where one ends.
    pub(super) fn end(&mut self, guest: &mut Incarnation, ending: IncarnationEnd) -> Result<(), Error> {
        self.watchers.drain(guest);
        if let IncarnationEnd::Reset(cause) = ending {
            self.watchers.note(Kind::Reset, guest.tick, Pid::NONE, [cause as u64, 0, 0]);
        }
        self.add_up(guest);
        self.keep_residue(guest);
        self.ended = guest.tick;
        self.post_mortem(guest, ending)?;
        if self.lab.cores {
            self.write_core(guest)?;
        }
        Ok(())
    }

    /// Writes the post-mortem, if there is a reason for one.
    fn post_mortem(&mut self, guest: &Incarnation, ending: IncarnationEnd) -> Result<(), Error> {
        let watchers = &mut self.watchers;
        if self.files.exist() {
            watchers.beats.name_places(watchers.events.places());
        }
        let info = guest.observer.as_ref().map(|observer| observer.info(guest.machine.memory()));
        let case = Case {
            scenario: self.lab.scenario,
            incarnation: self.number,
            tick: guest.tick,
            ended: ending,
            history: &watchers.history,
            beats: &watchers.beats,
            writes: watchers.detector.writes(),
            agents: [
                info.map_or(0, |info| info.counters.taps),
                watchers.tags.true_positives,
                watchers.tags.false_positives,
            ],
        };
        if !case.is_due() {
            return Ok(());
        }
        if self.files.exist() {
            self.files.write_post_mortem(self.number, &case.document(), &case.text())?;
        }
        self.cause.get_or_insert_with(|| case.short());
        Ok(())
    }

    /// Whether the new incarnation is healthy: processes are alive, its watchdog is petted, and nothing was
    /// found.
    pub(super) fn judge(&mut self, guest: &Incarnation) -> bool {
        let Some(observer) = &guest.observer else { return false };
        let info = &observer.guest().info;
        let healthy = guest.is_unblemished() && info.counters.pets > 0 && info.alive > 0;
        if healthy {
            let evidence = json!({
                "incarnation": self.number,
                "ticks_watched": guest.tick,
                "alive": info.alive,
                "pets": info.counters.pets,
                "findings": 0,
            });
            self.watchers.beats.came_up(guest.tick, evidence);
        }
        healthy
    }

    fn write_core(&mut self, guest: &mut Incarnation) -> Result<(), Error> {
        if !self.files.exist() {
            return Ok(());
        }
        let registers = guest.machine.registers()?;
        let published = guest.observer.as_ref().map(|observer| Published {
            info: observer.info_at(),
            kernel_root: observer.guest().info.kernel_root,
            image_sha256: &self.lab.fingerprints.image_sha256,
        });
        let memory = guest.machine.memory();
        self.files.write_core(self.number, |file| core_file::write(file, memory, &registers, published))
    }

    /// Adds the counters of an incarnation that has ended to the run's.
    fn add_up(&mut self, guest: &mut Incarnation) {
        let tally = &mut self.watchers.tally;
        tally.pets += guest.machine.bus().counters().watchdog.pets;
        tally.exits += guest.machine.counts().exits;
        if let Some(observer) = &guest.observer {
            let info = observer.info(guest.machine.memory());
            self.quirks |= info.quirks;
            tally.subsystems.add(&info.counters);
        }
        // A console that cannot be written does not change the run; the file is the user's own.
        let _ = guest.machine.flush_console();
    }

    /// Keeps what the incarnation leaves behind, for comparison with the golden run. Of the console the first
    /// incarnation counts, because only there faults act.
    fn keep_residue(&mut self, guest: &mut Incarnation) {
        let Some(account) = &self.watchers.account else { return };
        if self.number == 1 {
            self.left.console = guest.machine.bus().serial.output().hash();
        }
        let Some(observer) = &guest.observer else { return };
        let memory = guest.machine.memory();
        let Ok(tables) = Guest::read(memory, observer.info_at()) else { return };
        self.left.standing = self.watchers.injector.standing(&Scene { guest: &tables, memory });
        // The hash is expensive, and says something only about runs whose events are the same.
        let wanted = match self.lab.compare {
            Compare::With(golden) => golden.story == account.story(),
            _ => true,
        };
        self.left.memory = wanted.then(|| residue::hash(&tables, memory));
    }
}
