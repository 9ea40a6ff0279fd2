//! `cargo xtask beats`: how often each beat is reached under heavy load, and that labels have no part in it.
//!
//! A campaign over many seeds, and the first of these seeds again with other names of all programs, with
//! another order of start, and with other process ids. Tables (`beats.md`, `changes.md`) and pictures
//! (`beats-histogram.svg`: how many beats a run reaches; `beats.svg`: how often each is reached). What was
//! detected is held against the ledger over all runs.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;

use super::labels::{Change, Relabelled, relabel};
use super::shards::{Campaign, Maker, Options};
use crate::failure::Failure;
use crate::host::architect;
use crate::rates::{self, exactness, pictures, tables};
use crate::workspace::root;

/// Arguments of `cargo xtask beats`.
#[derive(Debug, Args)]
pub(crate) struct BeatsArgs {
    /// Folder for databases, tables and pictures
    dir: PathBuf,
    /// Scenario; without it scenarios/the-ending.toml
    scenario: Option<PathBuf>,
    /// Seeds
    #[arg(long, value_name = "N", default_value = "1000")]
    runs: NonZeroUsize,
    /// Seeds with each change of labels; 0 for none
    #[arg(long, value_name = "N", default_value = "200")]
    changed: usize,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value = "1")]
    seed: u64,
    #[command(flatten)]
    options: Options,
}

/// Makes the campaigns, and shows them.
///
/// # Errors
///
/// A campaign that failed, or a file that cannot be written.
pub(crate) fn beats(args: &BeatsArgs) -> Result<(), Failure> {
    if args.changed > args.runs.get() {
        return Err(Failure::new(Failure::USAGE, "--changed: no more than --runs"));
    }
    let scenario = args.scenario.clone().unwrap_or_else(|| root().join("scenarios/the-ending.toml"));
    let architect = architect()?;
    let name = scenario.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let all_runs = make(args, &architect, &name, &scenario, args.runs)?;
    let mut others = Vec::new();
    if let Some(runs) = NonZeroUsize::new(args.changed) {
        for change in Change::ALL {
            let name = format!("other-{}", change.name());
            let (path, other_command) = write_relabelled(args, change, &name, &scenario, &architect)?;
            let command = other_command.as_ref().unwrap_or(&architect);
            others.push(make(args, command, &name, &path, runs)?);
        }
    }
    show(args, &all_runs)?;
    if !others.is_empty() {
        println!();
        show_changes(args, &all_runs, &others.iter().collect::<Vec<_>>())?;
    }
    Ok(())
}

fn make(
    args: &BeatsArgs,
    architect: &Path,
    name: &str,
    scenario: &Path,
    runs: NonZeroUsize,
) -> Result<rates::Campaign, Failure> {
    let (stem, sets) = (args.dir.join(name), args.options.sets_after(&[]));
    let maker = Maker::new(&args.options, architect.to_owned());
    maker.make(&Campaign { stem: &stem, scenario, runs, seed: Some(args.seed), sets })?;
    Ok(rates::Campaign::read(name, &stem)?)
}

/// Writes the scenario with other labels, and the command that knows them where they are in the image as
/// well.
fn write_relabelled(
    args: &BeatsArgs,
    change: Change,
    name: &str,
    scenario: &Path,
    architect: &Path,
) -> Result<(PathBuf, Option<PathBuf>), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let Relabelled { scenario, command } = relabel(change, scenario, architect)?;
    let failed = |path: &Path, error| format!("{}: {error}", path.display());
    let path = args.dir.join(format!("{name}.toml"));
    fs::write(&path, scenario).map_err(|error| failed(&path, error))?;
    let Some(command) = command else { return Ok((path, None)) };
    let program = args.dir.join(format!("{name}.architect"));
    fs::write(&program, command)
        .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
        .map_err(|error| failed(&program, error))?;
    let program = std::path::absolute(&program).map_err(|error| failed(&program, error))?;
    Ok((path, Some(program)))
}

fn show(args: &BeatsArgs, all_runs: &rates::Campaign) -> Result<(), String> {
    let write = |name: &str, text: String| {
        let path = args.dir.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("beats-histogram.svg", pictures::histogram(all_runs))?;
    write("beats.svg", pictures::beats(all_runs))?;
    tables::publish(
        &args.dir.join("beats.md"),
        &[
            vec!["![How many beats a run reaches](beats-histogram.svg)".to_owned()],
            tables::numbers(&[all_runs]),
            vec!["![How often each beat is reached](beats.svg)".to_owned()],
            tables::beats(&[all_runs]),
            exactness(&[all_runs]),
        ],
    )
}

/// What the changes of labels do to each beat: tables, and a line for each change.
fn show_changes(
    args: &BeatsArgs,
    all_runs: &rates::Campaign,
    others: &[&rates::Campaign],
) -> Result<(), String> {
    let runs = others.iter().map(|other| other.rows.len()).min().unwrap_or(0);
    let own = all_runs.first(runs);
    let campaigns = [&[&own], others].concat();
    let lines = others.iter().map(|other| change_line(&own, other)).collect();
    let blocks = [tables::beats(&campaigns), lines, tables::numbers(&campaigns), exactness(others)];
    tables::publish(&args.dir.join("changes.md"), &blocks)
}

fn change_line(own: &rates::Campaign, other: &rates::Campaign) -> String {
    let pairs = own.rows.iter().zip(&other.rows);
    let same = pairs.filter(|(own, other)| own.trace_hash == other.trace_hash).count();
    let signed = |share: f64| format!("{:+.1}", share * 100.0);
    let apart: Vec<_> = own
        .rates()
        .zip(other.rates())
        .map(|((beat, own), (_, other))| (beat, other.minus(&own)))
        .filter(|(_, of)| of.low > 0.0 || of.high < 0.0)
        .map(|(beat, of)| {
            format!("`{beat}` {} % ({} to {})", signed(of.change), signed(of.low), signed(of.high))
        })
        .collect();
    let rates = if apart.is_empty() {
        "none has another rate: each difference's 95 % interval has 0 in it.".to_owned()
    } else {
        let intervals = "by 95 % intervals of the difference";
        format!("these have another rate {intervals}: {}.", apart.join(", "))
    };
    format!(
        "- {}: the same run, event by event, in {same} of {}. Of {} beats {rates}",
        other.name,
        other.rows.len(),
        own.beats().len()
    )
}
