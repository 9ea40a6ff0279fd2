//! `cargo xtask fixes`: what saves the Matrix.
//!
//! Each of the four fixes alone under heavy load, over the same seeds as without any (`fixes.md`); and all
//! sixteen combinations with what each fix does by itself and with others (`combinations.md`). What was
//! detected is held against the ledger over all runs.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::shards::{Campaign, Maker, Options};
use crate::failure::Failure;
use crate::host::architect;
use crate::rates::{self, exactness, percent, tables};
use crate::workspace::{root, say};

/// Arguments of `cargo xtask fixes`.
#[derive(Debug, Args)]
pub(crate) struct FixesArgs {
    /// Folder for databases and tables
    dir: PathBuf,
    /// Seeds of scenarios/the-ending.toml with each fix, of 1000 ticks; 0 for none
    #[arg(long, value_name = "N", default_value = "200")]
    runs: usize,
    /// Seeds of scenarios/recommendations.toml with each combination, of 400 ticks; 0 for none
    #[arg(long, value_name = "N", default_value = "100")]
    cell: usize,
    /// The beat that the tables are about
    #[arg(long, value_name = "NAME", default_value = "leak")]
    beat: String,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value = "1")]
    seed: u64,
    #[command(flatten)]
    options: Options,
}

/// The fixes, and none of them to compare with.
const FIXES: [&str; 5] = ["none", "pager", "ids", "monitor", "priorities"];

/// Makes the campaigns of single fixes and of all combinations, and shows them.
///
/// # Errors
///
/// A campaign that failed, or a file that cannot be written.
pub(crate) fn fixes(args: &FixesArgs) -> Result<(), Failure> {
    let maker = Maker::new(&args.options, architect()?);
    if let Some(runs) = NonZeroUsize::new(args.runs) {
        single(args, &maker, runs)?;
    }
    if let Some(runs) = NonZeroUsize::new(args.cell * 16) {
        combinations(args, &maker, runs)?;
    }
    Ok(())
}

fn single(args: &FixesArgs, maker: &Maker, runs: NonZeroUsize) -> Result<(), Failure> {
    let scenario = root().join("scenarios/the-ending.toml");
    let mut made = Vec::new();
    for fix in FIXES {
        say(&format!("fix: {fix}"));
        let switch = format!("fixes.{fix}=true");
        let defaults = ["vm.max-ticks=1000", &switch];
        let sets = args.options.sets_after(if fix == "none" { &defaults[..1] } else { &defaults });
        let stem = args.dir.join(fix);
        maker.make(&Campaign { stem: &stem, scenario: &scenario, runs, seed: Some(args.seed), sets })?;
        made.push(rates::Campaign::read(fix, &stem)?);
    }
    let made: Vec<_> = made.iter().collect();
    let blocks =
        [tables::rates(&args.beat, &made)?, tables::beats(&made), tables::numbers(&made), exactness(&made)];
    Ok(tables::publish(&args.dir.join("fixes.md"), &blocks)?)
}

fn combinations(args: &FixesArgs, maker: &Maker, runs: NonZeroUsize) -> Result<(), Failure> {
    say("all combinations");
    let (stem, scenario) = (args.dir.join("combinations"), root().join("scenarios/recommendations.toml"));
    let sets = args.options.sets_after(&["vm.max-ticks=400"]);
    maker.make(&Campaign { stem: &stem, scenario: &scenario, runs, seed: Some(args.seed), sets })?;
    let made = rates::Campaign::read("combinations", &stem)?;
    let path = args.dir.join("combinations.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let stats: Stats = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let (effects, unclear) = stats.effects(&args.beat);
    let mut blocks = vec![stats.rates(&args.beat, &made)?, effects];
    if unclear > 0 {
        blocks.push(vec![format!("{unclear} interactions of two may be none, and are left out.")]);
    }
    blocks.push(exactness(&[&made]));
    Ok(tables::publish(&args.dir.join("combinations.md"), &blocks)?)
}

/// What is read of the statistics that `architect stats --json` prints.
#[derive(Debug, Deserialize)]
struct Stats {
    /// In the scenario's order.
    factors: Vec<String>,
    cells: Vec<Cell>,
    /// By beat.
    effects: BTreeMap<String, Vec<Effect>>,
}

/// A combination of factors.
#[derive(Debug, Deserialize)]
struct Cell {
    /// The level of each factor.
    levels: BTreeMap<String, String>,
}

/// What one change, or two together, do to a rate.
#[derive(Debug, Deserialize)]
struct Effect {
    changes: Vec<FactorChange>,
    estimate: f64,
    low: f64,
    high: f64,
    /// Whether the interval leaves out zero.
    clear: bool,
}

#[derive(Debug, Deserialize)]
struct FactorChange {
    factor: String,
    from: String,
    to: String,
}

impl Stats {
    /// A combination a line.
    fn rates(&self, beat: &str, made: &rates::Campaign) -> Result<Vec<String>, String> {
        let factors = self.factors.iter().map(|factor| factor.trim_start_matches("fixes.").to_owned());
        let columns =
            ["runs", &format!("with `{beat}`"), "rate", "95 % interval", "healthy"].map(str::to_owned);
        let row = |(number, cell): (usize, &Cell)| {
            let of_cell = made.cell(number);
            let rate = of_cell.reached(beat)?;
            let healthy = of_cell.rows.iter().filter(|row| row.outcome == "healthy").count();
            let is_fixed = |factor: &String| cell.levels.get(factor).is_some_and(|level| level == "true");
            let fixed = self.factors.iter().map(|factor| if is_fixed(factor) { "yes" } else { "" });
            let (of, count, healthy) = (rate.of.to_string(), rate.count.to_string(), healthy.to_string());
            let numbers = [of, count, percent(rate.rate), rate.interval(), healthy];
            Ok(fixed.map(str::to_owned).chain(numbers).collect())
        };
        let rows = self.cells.iter().enumerate().map(row).collect::<Result<_, String>>()?;
        Ok(tables::table(factors.chain(columns).collect(), rows))
    }

    /// Main effects, and those interactions that are clear; and the number of the other interactions.
    fn effects(&self, beat: &str) -> (Vec<String>, usize) {
        let effects = self.effects.get(beat).into_iter().flatten();
        let (unclear, shown): (Vec<_>, Vec<_>) =
            effects.partition(|effect| effect.changes.len() > 1 && !effect.clear);
        let percent = |share: f64| format!("{:+.1} %", share * 100.0);
        let row = |effect: &Effect| {
            let changes = effect.changes.iter().map(|of| format!("`{}` {} to {}", of.factor, of.from, of.to));
            vec![
                changes.collect::<Vec<_>>().join(" with "),
                percent(effect.estimate),
                format!("{} to {}", percent(effect.low), percent(effect.high)),
                if effect.clear { "" } else { "may be none" }.to_owned(),
            ]
        };
        let head =
            ["change", &format!("effect on `{beat}`"), "95 % interval", ""].map(str::to_owned).to_vec();
        (tables::table(head, shown.into_iter().map(row).collect()), unclear.len())
    }
}
