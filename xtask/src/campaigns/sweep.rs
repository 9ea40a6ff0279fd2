//! `cargo xtask sweep`: how the rate of leaks grows with the load.
//!
//! A campaign for each level of load, over the same seeds, and of all of them a table (`sweep.md`) and
//! pictures (`sweep.svg`: rates with 95 % intervals; `sweep-beats.svg`: how many beats the runs of each level
//! reach). What was detected is held against the ledger over all runs.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::shards::{Campaign, Maker, Options};
use crate::failure::Failure;
use crate::host::architect;
use crate::rates::{self, exactness, pictures, tables};
use crate::workspace::{root, say};

/// Arguments of `cargo xtask sweep`.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Folder for databases, table and pictures
    dir: PathBuf,
    /// Scenario; without it scenarios/the-ending.toml
    scenario: Option<PathBuf>,
    /// Seeds of each level
    #[arg(long, value_name = "N", default_value = "200")]
    runs: NonZeroUsize,
    /// The beat whose rate is shown
    #[arg(long, value_name = "NAME", default_value = "leak")]
    beat: String,
    /// A level of load, from light to heavy: its name and what it sets. Without any there are six by
    /// load.people, load.work-ticks and vm.memory-mib, of 600 ticks
    #[arg(long = "level", value_name = "NAME=KEY=VALUE[,KEY=VALUE]")]
    levels: Vec<Level>,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value = "1")]
    seed: u64,
    #[command(flatten)]
    options: Options,
}

/// A level of load.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    name: String,
    sets: Vec<String>,
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        let (name, sets) = text.split_once('=').unwrap_or_default();
        let sets: Vec<_> = sets.split(',').map(str::to_owned).collect();
        if !is_name(name) || !sets.iter().all(|set| set.contains('=')) {
            return Err(format!("write NAME=KEY=VALUE, not {text}"));
        }
        Ok(Self { name: name.to_owned(), sets })
    }
}

/// How many programs eat memory, how many ticks the store takes, and how much memory there is. The last level
/// is the scenario's own. Runs that leak do so early, so 600 ticks are enough.
const LEVELS: [(u32, u32, u32); 6] = [(0, 0, 4), (0, 2, 4), (0, 2, 3), (0, 4, 3), (1, 5, 3), (20, 5, 3)];

fn standard_levels() -> Vec<Level> {
    let level = |(people, ticks, mib): (u32, u32, u32)| Level {
        name: format!("{people}-{ticks}-{mib}"),
        sets: vec![
            format!("load.people={people}"),
            format!("load.work-ticks={ticks}"),
            format!("vm.memory-mib={mib}"),
        ],
    };
    LEVELS.into_iter().map(level).collect()
}

/// Makes the campaigns of all levels, and shows them.
///
/// # Errors
///
/// A campaign that failed, or a file that cannot be written.
pub(crate) fn sweep(args: &SweepArgs) -> Result<(), Failure> {
    let scenario = args.scenario.clone().unwrap_or_else(|| root().join("scenarios/the-ending.toml"));
    let (levels, defaults) = match &args.levels[..] {
        [] => (standard_levels(), &["vm.max-ticks=600"][..]),
        levels => (levels.to_vec(), &[][..]),
    };
    let maker = Maker::new(&args.options, architect()?);
    let mut made = Vec::new();
    for Level { name, sets } in &levels {
        say(&format!("{name}: {}", sets.join(",")));
        let stem = args.dir.join(name);
        let sets = [args.options.sets_after(defaults), sets.clone()].concat();
        let (seed, runs) = (Some(args.seed), args.runs);
        maker.make(&Campaign { stem: &stem, scenario: &scenario, runs, seed, sets })?;
        made.push(rates::Campaign::read(name, &stem)?);
    }
    Ok(show(args, &made.iter().collect::<Vec<_>>())?)
}

fn show(args: &SweepArgs, levels: &[&rates::Campaign]) -> Result<(), String> {
    let write = |name: &str, text: String| {
        let path = args.dir.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("sweep.svg", pictures::rates(&args.beat, levels)?)?;
    write("sweep-beats.svg", pictures::numbers(levels))?;
    tables::publish(
        &args.dir.join("sweep.md"),
        &[
            vec![format!("![Runs with the beat {}, by load](sweep.svg)", args.beat)],
            tables::rates(&args.beat, levels)?,
            vec!["![How many beats a run reaches, by load](sweep-beats.svg)".to_owned()],
            tables::numbers(levels),
            exactness(levels),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn a_level_has_a_name_and_keys_with_values() {
        let level: Level = "heavy=load.people=60,load.spawn-rate=20".parse().expect("a level");
        assert_eq!((level.name.as_str(), level.sets.len()), ("heavy", 2));
        for wrong in ["heavy", "=a=1", "heavy=a", "a b=c=1", "heavy=a=1,b"] {
            assert!(wrong.parse::<Level>().is_err(), "{wrong}");
        }
    }
}
