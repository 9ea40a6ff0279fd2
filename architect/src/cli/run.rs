//! `architect run`: a scenario from its file to the verdict; one guest, or several at once.
//!
//! Guests of one run share nothing but the image that they are made from: each has a thread, devices, a
//! watchdog and a folder of its own. They start from the same seed, so all must give the same events.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::values::assignment;
use crate::error::{Error, Report, VmmError};
use crate::experiment::{Compare, Laboratory, SILENCE, Warm, check_code, check_programs, machine_config};
use crate::faults::digest::Digest;
use crate::files::folder::Folder;
use crate::files::output::{AtomicFile, print};
use crate::guest::image::{Fingerprints, read_module};
use crate::report::summary;
use crate::scenario::{Scenario, Start};
use crate::verdict::Verdict;
use vmm::host::kvm::Kvm;
use vmm::machine::Model;

/// Run a scenario
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct RunArgs {
    /// The scenario: a TOML file, or the name of one that `architect scenarios` lists
    pub scenario: PathBuf,
    /// Use this seed instead of the scenario's own
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Set a key of the scenario, as in vm.memory-mib=24; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub sets: Vec<(String, String)>,
    /// Run this many guests at once, each by itself and from the same seed; --out then has a folder for each
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub vms: Option<u32>,
    /// Write the run's files into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Also write memory and registers into the folder when an incarnation ends: core.elf, and core-2.elf for
    /// a second incarnation
    #[arg(long, requires = "out")]
    pub core: bool,
    /// Save the booted guest to this file, for --from
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub save_snapshot: Option<PathBuf>,
    /// Start from a saved guest of the same image and memory size; seed, load and fixes may differ
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Print one JSON document on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  architect run demo-leak --out out/demo --core
  architect run demo-leak --set fixes.pager=true --seed 7 --json";

/// Runs a scenario; returns the exit status.
///
/// # Errors
///
/// A bad scenario or image, a host that cannot run guests, a signal, or an expectation that was not met.
pub fn run(args: &RunArgs) -> Result<u8, Error> {
    let mut sets = args.sets.clone();
    sets.extend(args.vms.map(|vms| ("vm.vms".to_owned(), vms.to_string())));
    let scenario = Scenario::read(&args.scenario, args.seed, &sets)?;
    let module = scenario.vm.module.as_deref().map(read_module).transpose()?;
    let place = args.scenario.display().to_string();
    check_programs(&scenario, module.as_ref().map(|module| &*module.bytes), &place)?;
    check_code(&scenario, &place)?;
    // Draw number 0 of the faults; sweeps are for campaigns.
    let scenario = scenario.resolve(0);
    let fingerprints = Fingerprints::of(module.as_ref());
    let config = machine_config(&scenario, module)?;
    let save =
        args.save_snapshot.as_deref().map(|path| AtomicFile::create("--save-snapshot", path)).transpose()?;
    let kvm = Kvm::open()?;
    let mut lab = Laboratory {
        scenario: &scenario,
        config: &config,
        fingerprints: &fingerprints,
        kvm: &kvm,
        model: &Model::of(&kvm)?,
        silence: SILENCE,
        cores: args.core,
        compare: Compare::Nothing,
        warm: None,
    };
    warm_up(&mut lab, args, save)?;
    let golden = golden_digest(&lab)?;
    let lab = Laboratory { compare: golden.as_ref().map_or(Compare::Nothing, Compare::With), ..lab };
    let unmet = match scenario.vm.vms {
        1 => {
            let verdict = lab.experiment(args.out.as_deref())?;
            let files = args.out.as_deref().and_then(written);
            print(&if args.json { verdict.document() } else { summary::text(&verdict, files.as_ref()) })?;
            verdict.unmet_expectations()
        }
        vms => several(&lab, vms, args)?,
    };
    if unmet.is_empty() {
        return Ok(0);
    }
    Err(Error::Expectation(Report::new(
        unmet.join("; "),
        format!("{}, section expect", args.scenario.display()),
        "read the verdict and the events; another seed or load may behave as expected",
    )))
}

/// Lists the files of a run's folder for the summary; `None` if it cannot be read, which fails no run.
fn written(folder: &Path) -> Option<summary::Files> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Some(summary::Files { folder: folder.display().to_string(), names })
}

/// Prepares a warm start, if the scenario or an option asks for one.
fn warm_up(lab: &mut Laboratory<'_>, args: &RunArgs, save: Option<AtomicFile>) -> Result<(), Error> {
    if let Some(path) = &args.from {
        lab.warm = Some(Warm::load("--from", path, lab.config, lab.fingerprints)?);
    } else if save.is_some() || lab.scenario.vm.start == Start::Warm {
        lab.warm()?;
    }
    let Some(file) = save else { return Ok(()) };
    match &lab.warm {
        Some(warm) => warm.save(lab.fingerprints, file),
        None => Err(VmmError::Probe("the guest did not boot, so there is nothing to save".into()).into()),
    }
}

/// The digest of the golden run, if the scenario has faults.
fn golden_digest(lab: &Laboratory<'_>) -> Result<Option<Digest>, Error> {
    if lab.scenario.fault.is_empty() {
        return Ok(None);
    }
    let scenario = lab.scenario.golden();
    let lab = Laboratory {
        scenario: &scenario,
        cores: false,
        compare: Compare::Golden,
        warm: lab.warm.clone(),
        ..*lab
    };
    Ok(lab.experiment(None)?.digest)
}

/// Runs several guests at once. Returns the expectations that were not met by any of them.
fn several(lab: &Laboratory<'_>, vms: u32, args: &RunArgs) -> Result<Vec<String>, Error> {
    let begin = Instant::now();
    let mut folder = args.out.as_deref().map(Folder::create).transpose()?;
    let names: Vec<String> = (0..vms).map(|vm| format!("vm-{vm:02}")).collect();
    let verdicts = side_by_side(lab, &names, args);
    // A signal ends all of them, and no document is wanted then.
    if let Some(signal) = verdicts.iter().find_map(|verdict| match verdict {
        Err(Error::Interrupted(signal)) => Some(*signal),
        _ => None,
    }) {
        return Err(Error::Interrupted(signal));
    }

    let document = format!("{:#}\n", overview(lab.scenario, &names, &verdicts, begin.elapsed()));
    if let Some(folder) = &mut folder {
        folder.write("verdict.json", &document)?;
    }
    if args.json {
        print(&document)?;
    } else {
        let verdicts: Vec<_> = verdicts.iter().map(|verdict| verdict.as_ref().ok()).collect();
        print(&summary::several(lab.scenario, &names, &verdicts, begin.elapsed()))?;
    }
    if let Some(folder) = folder {
        folder.keep();
    }
    unmet_by_any(&names, verdicts)
}

/// Runs a guest for each name, each in a thread of its own.
fn side_by_side<'a>(
    lab: &Laboratory<'a>,
    names: &[String],
    args: &RunArgs,
) -> Vec<Result<Verdict<'a>, Error>> {
    let paths: Vec<Option<PathBuf>> =
        names.iter().map(|name| args.out.as_deref().map(|out| out.join(name))).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = names
            .iter()
            .zip(&paths)
            .map(|(name, path)| {
                let thread = std::thread::Builder::new().name(name.clone());
                thread.spawn_scoped(scope, || lab.experiment(path.as_deref()))
            })
            .collect();
        let ends = threads.into_iter().map(|thread| match thread {
            // A panic is a defect of the VMM: it goes on as it would without threads.
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => Err(VmmError::resource("a thread")(error).into()),
        });
        ends.collect()
    })
}

/// The expectations that were not met, with the guests' names; the worst error, if a guest failed.
fn unmet_by_any(names: &[String], verdicts: Vec<Result<Verdict<'_>, Error>>) -> Result<Vec<String>, Error> {
    let mut unmet = Vec::new();
    let mut worst: Option<Error> = None;
    for (name, verdict) in names.iter().zip(verdicts) {
        match verdict {
            Ok(verdict) => {
                unmet.extend(verdict.unmet_expectations().iter().map(|what| format!("{name}: {what}")));
            }
            Err(error) if worst.as_ref().is_none_or(|worst| worst.exit_status() < error.exit_status()) => {
                worst = Some(error);
            }
            Err(_) => {}
        }
    }
    worst.map_or(Ok(unmet), Err)
}

/// The document about all guests: each with its status, and its verdict or its error.
fn overview(
    scenario: &Scenario,
    names: &[String],
    verdicts: &[Result<Verdict<'_>, Error>],
    wall: Duration,
) -> Value {
    let of = |(name, verdict): (&String, &Result<Verdict<'_>, Error>)| match verdict {
        Ok(verdict) => {
            let status = u8::from(!verdict.unmet_expectations().is_empty());
            json!({"vm": name, "status": status, "verdict": verdict.to_json()})
        }
        Err(error) => json!({"vm": name, "status": error.exit_status(), "error": error.to_string()}),
    };
    let list: Vec<_> = names.iter().zip(verdicts).map(of).collect();
    let hashes: BTreeSet<_> =
        verdicts.iter().flatten().filter_map(|verdict| verdict.trace_hash.as_deref()).collect();
    json!({
        "version": 1,
        "scenario": scenario.name,
        "seed": scenario.seed,
        "status": list.iter().filter_map(|vm| vm["status"].as_u64()).max(),
        "trace_hashes": hashes,
        "vms": list,
        "wall_ms": crate::verdict::milliseconds(wall),
    })
}
