//! A scenario: its TOML document with all defaults filled in.

use std::path::Path;

use devices::watchdog::Stages;
use serde::{Deserialize, Serialize};

use super::fault::keys::FaultKeys;
use super::fault::model::Fault;
use super::sections::{
    AuditKeys, Expect, Fixes, Load, MonitorKeys, Program, VmKeys, WatchdogKeys, default_programs,
};
use super::source::Source;
use super::suggest;
use super::sweep::Sweep;
use super::{set, shipped};
use crate::error::{Error, Report};

/// A scenario with all its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// The name of the scenario in verdict and summary.
    pub name: String,
    /// The seed of everything that is drawn.
    #[serde(default = "one")]
    pub seed: u64,
    /// The machine.
    #[serde(default)]
    pub vm: VmKeys,
    /// The defects that are fixed.
    #[serde(default)]
    pub fixes: Fixes,
    /// What the programs do.
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
    /// The programs that are started at boot.
    #[serde(default = "default_programs")]
    pub program: Vec<Program>,
    /// The faults that are injected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<FaultKeys>,
    /// The keys that a campaign varies.
    #[serde(default, skip_serializing_if = "Sweep::is_empty")]
    pub sweep: Sweep,
    /// What must happen for exit status 0.
    #[serde(default)]
    pub expect: Expect,
}

fn one() -> u64 {
    1
}

impl Scenario {
    /// Reads a scenario from a file, or the shipped one of this name where there is no such file. Values from the
    /// command line replace its own.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no TOML, or has a key or value that makes no sense.
    pub fn read(path: &Path, seed: Option<u64>, sets: &[(String, String)]) -> Result<Self, Error> {
        if let Some(text) = path.to_str().filter(|_| !path.exists()).and_then(shipped::text) {
            return Self::parse(text, &format!("shipped scenario {}", path.display()), seed, sets);
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::Input(Report::new(
                format!("cannot read the scenario: {error}"),
                path.display().to_string(),
                "give the path of a TOML file, or one of the names that `architect scenarios` lists",
            ))
        })?;
        let mut scenario = Self::parse(&text, &path.display().to_string(), seed, sets)?;
        if let Some(module) = &mut scenario.vm.module {
            // A path in a file is relative to that file; a path on the command line to the current folder.
            let from_command_line = sets.iter().any(|(key, _)| key == "vm.module");
            let path = if from_command_line { module.clone() } else { path.with_file_name(&*module) };
            *module = std::path::absolute(&path).unwrap_or(path);
        }
        Ok(scenario)
    }

    /// Reads a scenario from its text; `place` names it in messages.
    ///
    /// # Errors
    ///
    /// As for [`Scenario::read`].
    pub fn parse(
        text: &str,
        place: &str,
        seed: Option<u64>,
        sets: &[(String, String)],
    ) -> Result<Self, Error> {
        let source = Source { text, place, sets };
        // The file by itself first: only its mistakes have a line and a column.
        let mut scenario: Self = toml::from_str(text).map_err(|error| source.wrong_type(&error))?;
        if !sets.is_empty() {
            let mut table: toml::Table = text.parse().map_err(|error| source.wrong_type(&error))?;
            for (key, value) in sets {
                scenario = with_set(&mut table, key, value)?;
            }
        }
        if let Some(seed) = seed {
            scenario.seed = seed;
        }
        scenario.check(&source)?;
        Ok(scenario)
    }

    /// The faults. [`Scenario::parse`] has refused those that make no sense.
    pub fn faults(&self) -> Vec<Fault> {
        self.fault.iter().filter_map(|keys| Fault::of(keys).ok()).collect()
    }

    /// The scenario of one run of a campaign: everything left open is drawn from the seed and the run's number.
    #[must_use]
    pub fn resolve(&self, run: u64) -> Self {
        let faults =
            self.fault.iter().zip(0..).filter_map(|(fault, place)| fault.resolve(self.seed, run, place));
        Self { fault: faults.collect(), sweep: Sweep::default(), ..self.clone() }
    }

    /// The golden scenario that a run with faults is compared with: no faults, no expectations.
    #[must_use]
    pub fn golden(&self) -> Self {
        Self { fault: Vec::new(), sweep: Sweep::default(), expect: Expect::default(), ..self.clone() }
    }

    /// What the watchdog does.
    pub fn stages(&self) -> Stages {
        Stages::two(self.watchdog.first, self.watchdog.second)
    }

    /// The scenario as resolved, as TOML.
    pub fn to_toml(&self) -> String {
        // Tables of numbers and words always serialize.
        toml::to_string(self).unwrap_or_default()
    }
}

/// The scenario with one more value from the command line in its table.
fn with_set(table: &mut toml::Table, key: &str, value: &str) -> Result<Scenario, Error> {
    let wrong =
        |what: &str, remedy: String| Error::Input(Report::new(what, format!("--set {key}={value}"), remedy));
    set::put(table, key, set::value(value)).map_err(|what| {
        wrong(what, "write a key with its section and a value, as in vm.memory-mib=24".to_owned())
    })?;
    table
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| wrong(error.message(), suggest::remedy(error.message())))
}
