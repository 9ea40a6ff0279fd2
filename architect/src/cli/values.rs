//! Values of options that several commands have.

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;
use crate::scenario::Scenario;
use crate::terms::Beat;

/// What to run: a scenario with changes.
#[derive(Clone, Debug, Args)]
pub struct SubjectArgs {
    /// The scenario: a TOML file, or the name of one that `architect scenarios` lists
    pub scenario: PathBuf,
    /// Use this first seed instead of the scenario's own; the others follow it
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Set a key of the scenario, as in vm.memory-mib=24; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub sets: Vec<(String, String)>,
}

impl SubjectArgs {
    /// Reads the scenario.
    pub(super) fn read(&self) -> Result<Scenario, Error> {
        Scenario::read(&self.scenario, self.seed, &self.sets)
    }

    /// What messages call it.
    pub(super) fn place(&self) -> String {
        self.scenario.display().to_string()
    }
}

/// `KEY=VALUE`.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write KEY=VALUE, as in vm.memory-mib=24".to_owned()),
    }
}

/// The name of a beat.
pub(super) fn beat(name: &str) -> Result<Beat, String> {
    Beat::ALL.iter().copied().find(|beat| beat.name() == name).ok_or_else(|| {
        let all: Vec<_> = Beat::ALL.iter().map(|beat| beat.name()).collect();
        format!("the beats are {}", all.join(", "))
    })
}

/// Half the width of an interval of rates.
pub(super) fn margin(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(margin) if (0.0001..=0.5).contains(&margin) => Ok(margin),
        _ => Err("give a number from 0.0001 to 0.5, as in 0.03".to_owned()),
    }
}

/// How many runs at once: the number given, or one for each processor.
pub(super) fn jobs(given: Option<u16>) -> usize {
    given.map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_has_a_key_and_a_value() {
        assert!(assignment("=1").is_err() && assignment("a").is_err());
        assert_eq!(assignment("a.b = 1"), Ok(("a.b".into(), "1".into())));
    }

    #[test]
    fn margins_are_useful_and_beats_are_known() {
        assert!(margin("0").is_err() && margin("0.6").is_err() && margin("x").is_err());
        assert_eq!(margin("0.03"), Ok(0.03));
        assert_eq!(beat("leak"), Ok(Beat::Leak));
        assert!(beat("fun").unwrap_err().contains("two-left"));
    }
}
