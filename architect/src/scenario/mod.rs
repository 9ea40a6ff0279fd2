//! Scenarios: what to run, read from TOML, checked once, with the place of every mistake.
//!
//! Every key is described in `scenarios/README.md`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use devices::watchdog::{Stages, WatchdogAction};
use introspect::policy::Preset;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Report};
use crate::faults::keys::FaultKeys;
use crate::faults::language::Fault;
use source::Source;
pub use source::wrong_in;
pub use sweep::{Cell, Sweep};

/// A scenario with all its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// Seed of everything that is chosen.
    #[serde(default = "one")]
    pub seed: u64,
    /// The machine.
    #[serde(default)]
    pub vm: VmKeys,
    /// Which defects are mended.
    #[serde(default)]
    pub fixes: Fixes,
    /// What the people do.
    #[serde(default)]
    pub load: Load,
    /// The monitor.
    #[serde(default)]
    pub monitor: MonitorKeys,
    /// The audits.
    #[serde(default)]
    pub audit: AuditKeys,
    /// The watchdog.
    #[serde(default)]
    pub watchdog: WatchdogKeys,
    /// What is started.
    #[serde(default = "default_programs")]
    pub program: Vec<Program>,
    /// What is broken on purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<FaultKeys>,
    /// Keys that a campaign varies.
    #[serde(default, skip_serializing_if = "Sweep::is_empty")]
    pub sweep: Sweep,
    /// What has to happen for exit status 0.
    #[serde(default)]
    pub expect: Expect,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct VmKeys {
    /// Guest memory, MiB.
    pub memory_mib: u32,
    /// What guest time is made of.
    pub clock: Clock,
    /// The run ends here, if nothing else ends it. Virtual ticks.
    pub max_ticks: u64,
    /// Kernel entries in a tick.
    pub tick_entries: u32,
    /// Guests that run at once, each by itself and from the same seed.
    pub vms: u32,
    /// How each incarnation begins. Nothing that a run tells depends on it.
    pub start: Start,
    /// A boot module in place of the one in the image; as given in a file, relative to that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<PathBuf>,
}

/// What guest time is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Kernel entries: a run is a function of image, scenario and seed.
    Virtual,
    /// The local APIC's timer, in real time: no two runs are the same.
    Apic,
}

/// How an incarnation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// It goes on from a guest that has booted, and a reset goes back there.
    Warm,
    /// It boots from power-on.
    Cold,
}

/// Which defects are mended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Fixes {
    /// The quarantine is honoured, teardown forced under pressure.
    pub pager: bool,
    /// The Agents look at some of what passes, not at everything.
    pub ids: bool,
    /// The monitor holds back while the load is high.
    pub monitor: bool,
    /// The scheduler lends priorities and lifts who has waited long.
    pub priorities: bool,
}

/// What the people do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Load {
    /// Clients to keep alive at once.
    pub people: u32,
    /// Clients started in 100 ticks, at most.
    pub spawn_rate: u32,
    /// Pages in a message.
    pub message_pages: u32,
    /// Ticks that a client waits for an answer.
    pub patience_ticks: u64,
    /// Requests that a client makes in its life.
    pub requests: u64,
    /// Ticks that the store needs for a request.
    pub work_ticks: u64,
    /// Front servers that the clients choose from: ports 2000 and up.
    pub fronts: u32,
    /// Buffers of datagrams that the network can have at once.
    pub buffers: u32,
    /// Directories that people choose from: ports 700 and up.
    pub directories: u32,
    /// Violators to keep alive at once.
    pub violators: u32,
    /// Crashed processes at which the watchdog's daemon pets it no more.
    pub unsound_crashes: u64,
    /// Tick at which the last of the people come; the first come at half of it.
    pub ramp_ticks: u64,
}

/// The monitor, see [`crate::experiment::monitor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MonitorKeys {
    /// Whether there is one. The audits take place without it as well.
    pub enabled: bool,
    /// Ticks between two looks at processes and services.
    pub period_ticks: u64,
    /// Looks without progress after which a process is taken for wedged.
    pub missed_before_restart: u64,
    /// Ready processes above which a monitor that is mended holds back.
    pub max_load: u32,
}

/// The audits of the page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AuditKeys {
    /// The rules by which sharings are judged.
    #[serde(with = "by_name")]
    pub policy: Preset,
    /// Each audit reads everything, rather than what KVM has logged as written since the last one. It makes no other
    /// difference; a log costs the guest a fault for each page that it writes between two audits.
    pub whole: bool,
    /// Ticks between two scans of all memory for hidden address spaces; 0 for none.
    pub roots_every: u64,
}

impl Default for AuditKeys {
    fn default() -> Self {
        Self { policy: Preset::Strict, whole: true, roots_every: 16 }
    }
}

/// The watchdog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WatchdogKeys {
    /// Ticks without a pet until it expires.
    pub timeout_ticks: u64,
    /// What the first expiry does.
    #[serde(with = "by_name")]
    pub first: WatchdogAction,
    /// What the second does.
    #[serde(with = "by_name")]
    pub second: WatchdogAction,
}

/// A program to start at boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Program {
    /// Its name in the boot module.
    pub program: String,
    /// How many.
    #[serde(default = "one_u32")]
    pub count: u32,
    /// User id; 0 is root.
    #[serde(default = "default_uid")]
    pub uid: u32,
    /// Priority, 0 (most urgent) to 7.
    #[serde(default = "default_priority")]
    pub priority: u8,
    /// What it serves: one port for each instance, its argument.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Its argument, where it serves no port: a number, or the name of a program.
    #[serde(default, deserialize_with = "word", skip_serializing_if = "String::is_empty")]
    pub argument: String,
}

/// What has to happen for exit status 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expect {
    /// How the run ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<crate::verdict::Outcome>,
    /// Beats that must be reached.
    pub beats: Vec<crate::beats::Beat>,
    /// Beats that must not be reached.
    pub never: Vec<crate::beats::Beat>,
}

impl Default for VmKeys {
    fn default() -> Self {
        Self {
            memory_mib: 32,
            clock: Clock::Virtual,
            start: Start::Warm,
            max_ticks: 2000,
            tick_entries: 16,
            vms: 1,
            module: None,
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            people: 6,
            spawn_rate: 5,
            message_pages: 2,
            patience_ticks: 200,
            requests: 4,
            work_ticks: 2,
            fronts: 2,
            buffers: 128,
            directories: 1,
            violators: 0,
            unsound_crashes: 2,
            ramp_ticks: 0,
        }
    }
}

impl Default for MonitorKeys {
    fn default() -> Self {
        Self { enabled: true, period_ticks: 8, missed_before_restart: 6, max_load: 8 }
    }
}

impl Default for WatchdogKeys {
    fn default() -> Self {
        Self { timeout_ticks: 400, first: WatchdogAction::Nmi, second: WatchdogAction::Reset }
    }
}

fn one() -> u64 {
    1
}

fn one_u32() -> u32 {
    1
}

fn default_uid() -> u32 {
    1000
}

fn default_priority() -> u8 {
    4
}

fn default_programs() -> Vec<Program> {
    let program = |program: &str, count, uid, priority, ports: &[u16], argument: &str| Program {
        program: program.into(),
        count,
        uid,
        priority,
        ports: ports.into(),
        argument: argument.into(),
    };
    vec![
        program("watchdogd", 1, 0, 1, &[], "14"),
        program("nursery", 1, 0, 3, &[], "client"),
        program("store", 1, 100, 2, &[2100], ""),
        program("front", 2, 100, 3, &[2000, 2001], ""),
        program("batch", 1, 1000, 5, &[], "8"),
    ]
}

/// A number or a word.
fn word<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Word(String),
    }
    Ok(match Either::deserialize(from)? {
        Either::Number(number) => number.to_string(),
        Either::Word(word) => word,
    })
}

impl Scenario {
    /// Reads a scenario, with values from the command line in place of its own.
    pub fn read(path: &Path, seed: Option<u64>, sets: &[(String, String)]) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::Input(Report::new(
                format!("cannot read the scenario: {error}"),
                path.display().to_string(),
                "give the path of a TOML file such as those in scenarios/",
            ))
        })?;
        let mut scenario = Self::parse(&text, &path.display().to_string(), seed, sets)?;
        if let Some(module) = &mut scenario.vm.module {
            // What stands in a file is seen from there; what is typed, from where it is typed.
            let typed = sets.iter().any(|(key, _)| key == "vm.module");
            let seen = if typed { module.clone() } else { path.with_file_name(&*module) };
            *module = std::path::absolute(&seen).unwrap_or(seen);
        }
        Ok(scenario)
    }

    /// The same from its text; `place` names it in messages.
    pub fn parse(
        text: &str,
        place: &str,
        seed: Option<u64>,
        sets: &[(String, String)],
    ) -> Result<Self, Error> {
        let source = Source { text, place, sets };
        // First the file by itself: only there do mistakes have a line and a column.
        let mut scenario: Self = toml::from_str(text).map_err(|error| source.wrong_type(&error))?;
        if !sets.is_empty() {
            let mut table: toml::Table = text.parse().map_err(|error| source.wrong_type(&error))?;
            for (key, value) in sets {
                scenario = set::with(&mut table, key, value)?;
            }
        }
        if let Some(seed) = seed {
            scenario.seed = seed;
        }
        scenario.check(&source)?;
        Ok(scenario)
    }

    /// The faults, as they make sense. A scenario that was read is one in which they do.
    pub fn faults(&self) -> Vec<Fault> {
        self.fault.iter().filter_map(|keys| Fault::of(keys).ok()).collect()
    }

    /// The scenario of one run of a campaign: everything that it leaves open is drawn from its seed and the run's number.
    #[must_use]
    pub fn resolve(&self, run: u64) -> Self {
        let faults =
            self.fault.iter().zip(0..).filter_map(|(fault, place)| fault.resolve(self.seed, run, place));
        Self { fault: faults.collect(), sweep: Sweep::default(), ..self.clone() }
    }

    /// The same without faults: what a run with them is compared to. It expects nothing.
    #[must_use]
    pub fn golden(&self) -> Self {
        Self { fault: Vec::new(), sweep: Sweep::default(), expect: Expect::default(), ..self.clone() }
    }

    fn start_list(&self) -> String {
        let mut list = String::new();
        for program in &self.program {
            let Program { program, count, uid, priority, ports, argument } = program;
            let mut entry = |count: u32, argument: &str| {
                let comma = if list.is_empty() { "" } else { "," };
                let _ = write!(list, "{comma}{program}:{count}:{uid}:{priority}:{argument}");
            };
            if ports.is_empty() {
                entry(*count, if argument.is_empty() { "0" } else { argument });
            }
            for port in ports {
                entry(1, &port.to_string());
            }
        }
        list
    }

    /// The kernel's command line.
    pub fn command_line(&self) -> String {
        let (load, fixes) = (&self.load, &self.fixes);
        let clock = match self.vm.clock {
            Clock::Virtual => "",
            Clock::Apic => "clock=apic ",
        };
        format!(
            "seed={} {clock}tick-entries={} fix.pager={} fix.ids={} fix.monitor={} fix.priorities={} \
             watchdog-ticks={} people={} spawn-every={} pages={} patience={} rounds={} work={} fronts={} buffers={} \
             directories={} violators={} unsound={} ramp={} \
             start={}",
            self.seed,
            self.vm.tick_entries,
            u8::from(fixes.pager),
            u8::from(fixes.ids),
            u8::from(fixes.monitor),
            u8::from(fixes.priorities),
            self.watchdog.timeout_ticks,
            load.people,
            100 / load.spawn_rate,
            load.message_pages,
            load.patience_ticks,
            load.requests,
            load.work_ticks,
            load.fronts,
            load.buffers,
            load.directories,
            load.violators,
            load.unsound_crashes,
            load.ramp_ticks,
            self.start_list(),
        )
    }

    /// What the watchdog does.
    pub fn stages(&self) -> Stages {
        Stages::two(self.watchdog.first, self.watchdog.second)
    }

    /// The scenario as resolved, as TOML.
    pub fn to_toml(&self) -> String {
        // Plain tables of numbers and words can always be written.
        toml::to_string(self).unwrap_or_default()
    }
}

mod by_name;
mod check;
#[cfg(test)]
mod mistakes;
mod set;
mod source;
mod sweep;
#[cfg(test)]
mod tests;
