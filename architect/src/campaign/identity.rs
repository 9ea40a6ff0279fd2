//! What makes two campaigns the same one: rows of different ones must not be mixed.

use crate::campaign::plan::Vary;
use crate::campaign::shard::Shard;
use crate::guest::image::Fingerprints;
use crate::scenario::{Cell, Expect, Scenario};

/// The values of a sweep's keys in one cell, in the order of the keys.
pub type Levels = Vec<String>;

/// The facts that rows depend on, and the part of the campaign that a database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Each fact by its name.
    facts: [(&'static str, String); 9],
    /// The keys that vary.
    pub factors: Vec<String>,
    /// Their values in each cell.
    pub cells: Vec<Levels>,
}

impl Identity {
    /// The name of the scenario, among the facts.
    pub const NAME: &str = "name";
    /// The seed of run 0.
    pub const FIRST_SEED: &str = "first seed";
    /// The scenario with its defaults.
    pub const SCENARIO: &str = "scenario";
    /// The fingerprint of the kernel's image.
    pub const IMAGE: &str = "kernel image";
    /// Which part of the campaign it is: the only fact in which its parts differ.
    pub const SHARD: &str = "shard";
    /// The version of the table. A database of another version is refused.
    pub const FORMAT: u32 = 2;

    /// Of a campaign about to begin.
    pub fn new(
        scenario: &Scenario,
        cells: &[Cell],
        fingerprints: &Fingerprints,
        (vary, prune, shard): (Vary, bool, Shard),
    ) -> Self {
        // The campaign has seeds of its own, and expectations change no run.
        let kept = Scenario { seed: 0, expect: Expect::default(), ..scenario.clone() };
        let labels = || cells.iter().map(|cell| &cell.labels);
        Self {
            factors: labels().next().into_iter().flatten().map(|(factor, _)| factor.clone()).collect(),
            cells: labels().map(|labels| labels.iter().map(|(_, level)| level.clone()).collect()).collect(),
            facts: [
                (Self::NAME, scenario.name.clone()),
                (Self::FIRST_SEED, scenario.seed.to_string()),
                ("what varies", vary.to_string()),
                ("pruned", if prune { "yes" } else { "no" }.to_owned()),
                (Self::SHARD, shard.to_string()),
                ("version of architect", env!("CARGO_PKG_VERSION").to_owned()),
                (Self::IMAGE, fingerprints.image_sha256.clone()),
                ("boot module", fingerprints.module_sha256.clone().unwrap_or_default()),
                (Self::SCENARIO, kept.to_toml()),
            ],
        }
    }

    /// For tests: the facts that differ between two campaigns of one scenario.
    #[cfg(test)]
    pub(super) fn from_facts([first_seed, shard]: [String; 2]) -> Self {
        let same = |name| (name, String::new());
        Self {
            factors: vec!["fixes.pager".into()],
            cells: vec![vec!["false".into()], vec!["true".into()]],
            facts: [
                same(Self::NAME),
                (Self::FIRST_SEED, first_seed),
                same("what varies"),
                same("pruned"),
                (Self::SHARD, shard),
                same("version of architect"),
                same(Self::IMAGE),
                same("boot module"),
                same(Self::SCENARIO),
            ],
        }
    }

    /// Each fact with its name.
    pub fn facts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.facts.iter().map(|(name, value)| (*name, value.as_str()))
    }
}
