//! What makes two campaigns the same one: rows of different ones must not be mixed.

use crate::campaign::effects::Levels;
use crate::campaign::plan::Vary;
use crate::campaign::shard::Shard;
use crate::campaign::subject::Subject;

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

    /// Of a campaign about to be made.
    pub fn of(subject: &Subject, vary: Vary, shard: Shard) -> Self {
        // Seeds are the campaign's own, and what is expected changes no run.
        let scenario = crate::scenario::Scenario {
            seed: 0,
            expect: crate::scenario::Expect::default(),
            ..subject.scenario.clone()
        };
        let labels = || subject.cells.iter().map(|cell| &cell.labels);
        Self {
            factors: labels().next().into_iter().flatten().map(|(factor, _)| factor.clone()).collect(),
            cells: labels().map(|labels| labels.iter().map(|(_, level)| level.clone()).collect()).collect(),
            facts: [
                (Self::NAME, subject.scenario.name.clone()),
                (Self::FIRST_SEED, subject.scenario.seed.to_string()),
                ("what varies", vary.to_string()),
                ("pruned", if subject.prune { "yes" } else { "no" }.to_owned()),
                (Self::SHARD, shard.to_string()),
                ("version of architect", env!("CARGO_PKG_VERSION").to_owned()),
                (Self::IMAGE, subject.fingerprints.image_sha256.clone()),
                ("boot module", subject.fingerprints.module_sha256.clone().unwrap_or_default()),
                (Self::SCENARIO, scenario.to_toml()),
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
