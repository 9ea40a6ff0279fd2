//! `architect run`: a scenario from its file to the verdict; one guest, or several at once.
//!
//! Guests of one run share nothing but the image that they are made from: each has a thread, devices, a watchdog and a
//! folder of its own. They start from the same seed, so each of them has to tell the same story.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use abi::module::{Header, MODULE_MAGIC};
use devices::watchdog::Timeout;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zerocopy::FromBytes;

use crate::cli::RunArgs;
use crate::error::{Error, Report};
use crate::experiment::{Compare, End, Laboratory, Warm};
use crate::faults::digest::Digest;
use crate::files::folder::Folder;
use crate::files::output::AtomicFile;
use crate::guest::programs;
use crate::report::summary;
use crate::scenario::{Scenario, Start};
use crate::verdict::{Fingerprints, Verdict};
use vmm::host::kvm::Kvm;
use vmm::machine::loader::{Blob, Image, ImageSource};
use vmm::machine::{MachineConfig, Model};

/// The Matrix, as built with this VMM.
pub static MATRIX: &[u8] = include_bytes!(env!("MATRIX_IMAGE"));

/// How long a guest may go without ringing before real time takes over, not counting that it waits for others. The slowest
/// known host rings some twenty times a second under full load.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// Runs a scenario; gives the exit status.
pub fn run(args: &RunArgs) -> Result<u8, Error> {
    let mut sets = args.sets.clone();
    sets.extend(args.vms.map(|vms| ("vm.vms".to_owned(), vms.to_string())));
    let scenario = Scenario::read(&args.scenario, args.seed, &sets)?;
    let module = scenario.vm.module.as_deref().map(read_module).transpose()?;
    let place = args.scenario.display().to_string();
    programs::check(&scenario, module.as_ref().map(|module| &*module.bytes), &place)?;
    programs::check_code(&scenario, &place)?;
    // The run with number 0 of all that could be drawn; a sweep is for campaigns.
    let scenario = scenario.resolve(0);
    let fingerprints = fingerprints(module.as_ref());
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
    let golden = match golden_digest(&lab)? {
        Ok(digest) => digest,
        Err(signal) => return Ok(status_of_signal(signal)),
    };
    let lab = Laboratory { compare: golden.as_ref().map_or(Compare::Nothing, Compare::With), ..lab };
    let disappointments = match scenario.vm.vms {
        1 => match lab.experiment(args.out.as_deref())? {
            End::Signal(number) => return Ok(status_of_signal(number)),
            End::Verdict(verdict) => {
                print(&if args.json { verdict.document() } else { summary::text(&verdict) })?;
                verdict.disappointments()
            }
        },
        vms => match several(&lab, vms, args)? {
            Ok(disappointments) => disappointments,
            Err(status) => return Ok(status),
        },
    };
    if disappointments.is_empty() {
        return Ok(0);
    }
    Err(Error::Expectation(Report::new(
        disappointments.join("; "),
        format!("{}, section expect", args.scenario.display()),
        "look at the verdict and the events; another seed or load may behave as expected",
    )))
}

/// Makes a warm start, if the scenario or an option wants one.
fn warm_up(lab: &mut Laboratory<'_>, args: &RunArgs, save: Option<AtomicFile>) -> Result<(), Error> {
    if let Some(path) = &args.from {
        lab.warm = Some(Warm::load("--from", path, lab.config, lab.fingerprints)?);
    } else if save.is_some() || lab.scenario.vm.start == Start::Warm {
        lab.warm()?;
    }
    let Some(file) = save else { return Ok(()) };
    match &lab.warm {
        Some(warm) => warm.save(lab.fingerprints, file),
        None => {
            Err(crate::error::VmmError::Probe("it did not boot, so there is nothing to save".into()).into())
        }
    }
}

/// The run that those with faults are compared with, if there are faults.
fn golden_digest(lab: &Laboratory<'_>) -> Result<Result<Option<Digest>, i32>, Error> {
    if lab.scenario.fault.is_empty() {
        return Ok(Ok(None));
    }
    let scenario = lab.scenario.golden();
    let lab = Laboratory {
        scenario: &scenario,
        cores: false,
        compare: Compare::Golden,
        warm: lab.warm.clone(),
        ..*lab
    };
    Ok(match lab.experiment(None)? {
        End::Signal(number) => Err(number),
        End::Verdict(verdict) => Ok(verdict.digest),
    })
}

/// Runs several guests at once. Gives what was expected of any and did not happen; `Err` is the status of a signal.
fn several(lab: &Laboratory<'_>, vms: u32, args: &RunArgs) -> Result<Result<Vec<String>, u8>, Error> {
    let begin = Instant::now();
    let mut folder = args.out.as_deref().map(Folder::create).transpose()?;
    let names: Vec<String> = (0..vms).map(|vm| format!("vm-{vm:02}")).collect();
    let paths: Vec<Option<PathBuf>> =
        names.iter().map(|name| args.out.as_deref().map(|out| out.join(name))).collect();
    let ends: Vec<Result<End<'_>, Error>> = std::thread::scope(|scope| {
        let threads: Vec<_> = names
            .iter()
            .zip(&paths)
            .map(|(name, path)| {
                let thread = std::thread::Builder::new().name(name.clone());
                thread.spawn_scoped(scope, || lab.experiment(path.as_deref()))
            })
            .collect();
        let ends = threads.into_iter().map(|thread| match thread {
            // A panic is a defect of the VMM: it goes on where it would without threads.
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => Err(crate::error::VmmError::resource("a thread")(error).into()),
        });
        ends.collect()
    });

    // Whoever ends a run from outside wants no document; guests that had come to their end have their own.
    let signal = ends.iter().find_map(|end| match end {
        Ok(End::Signal(number)) => Some(status_of_signal(*number)),
        _ => None,
    });
    if let Some(status) = signal {
        return Ok(Err(status));
    }

    let document = overview(lab.scenario, &names, &ends, begin.elapsed());
    let document_text = format!("{document:#}\n");
    if let Some(folder) = &mut folder {
        folder.write("verdict.json", &document_text)?;
    }
    if args.json {
        print(&document_text)?;
    } else {
        print(&summary::several(lab.scenario, &names, &verdicts(&ends), begin.elapsed()))?;
    }
    if let Some(folder) = folder {
        folder.keep();
    }

    let mut disappointments = Vec::new();
    let mut worst: Option<Error> = None;
    for (name, end) in names.iter().zip(ends) {
        match end {
            Ok(End::Verdict(verdict)) => {
                let all = verdict.disappointments();
                disappointments.extend(all.into_iter().map(|what| format!("{name}: {what}")));
            }
            Err(error) if worst.as_ref().is_none_or(|w| w.exit_status() < error.exit_status()) => {
                worst = Some(error);
            }
            Ok(End::Signal(_)) | Err(_) => {}
        }
    }
    worst.map_or(Ok(Ok(disappointments)), Err)
}

fn verdicts<'v, 's>(ends: &'v [Result<End<'s>, Error>]) -> Vec<Option<&'v Verdict<'s>>> {
    let verdict = |end: &'v Result<End<'s>, Error>| match end {
        Ok(End::Verdict(verdict)) => Some(&**verdict),
        _ => None,
    };
    ends.iter().map(verdict).collect()
}

/// The document about all guests: each with its status, and its verdict or what kept it from having one.
fn overview(scenario: &Scenario, names: &[String], ends: &[Result<End<'_>, Error>], wall: Duration) -> Value {
    let of = |(name, end): (&String, &Result<End<'_>, Error>)| match end {
        Ok(End::Verdict(verdict)) => {
            let status = u8::from(!verdict.disappointments().is_empty());
            json!({"vm": name, "status": status, "verdict": verdict.to_json()})
        }
        Ok(End::Signal(number)) => json!({"vm": name, "status": status_of_signal(*number)}),
        Err(error) => json!({"vm": name, "status": error.exit_status(), "error": error.to_string()}),
    };
    let list: Vec<_> = names.iter().zip(ends).map(of).collect();
    let hashes: BTreeSet<_> =
        verdicts(ends).into_iter().flatten().filter_map(|verdict| verdict.trace_hash.as_deref()).collect();
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

pub(crate) fn status_of_signal(number: i32) -> u8 {
    128_u8.saturating_add(u8::try_from(number).unwrap_or(0))
}

/// What guests of this image, and of this module, are made of.
pub(crate) fn fingerprints(module: Option<&Blob>) -> Fingerprints {
    Fingerprints { image_sha256: sha256(MATRIX), module_sha256: module.map(|module| sha256(&module.bytes)) }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn print(text: &str) -> Result<(), Error> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| {
        Error::Input(Report::new(error.to_string(), "standard output", "check the reader of standard output"))
    })
}

/// A boot module from a file. The guest would fall back to its own if this were none; here it is an error.
pub(crate) fn read_module(path: &Path) -> Result<Blob, Error> {
    let blob = Blob::read(&ImageSource::File(path.to_owned()))?;
    let what = match Header::read_from_prefix(&blob.bytes) {
        Ok((header, _)) if header.magic == MODULE_MAGIC && header.version == abi::info::VERSION => {
            return Ok(blob);
        }
        Ok((header, _)) if header.magic == MODULE_MAGIC => {
            format!(
                "this boot module has version {}, this guest takes {}",
                header.version,
                abi::info::VERSION
            )
        }
        _ => "this is not a boot module".to_owned(),
    };
    Err(Error::Input(Report::new(
        what,
        format!("{}, given by vm.module", path.display()),
        "give a file that was packed for this version, or leave the key out",
    )))
}

/// What a guest of this scenario is made from: the Matrix, with this boot module in place of its own.
pub fn machine_config(scenario: &Scenario, module: Option<Blob>) -> Result<MachineConfig, Error> {
    let image = Image::check(Blob { name: "the Matrix".into(), bytes: MATRIX.into() })?;
    let cmdline = scenario.command_line();
    image.fits(scenario.vm.memory_mib, &cmdline, module.as_ref())?;
    Ok(MachineConfig {
        memory_mib: scenario.vm.memory_mib,
        image,
        cmdline,
        module,
        timeout: Timeout::Ticks(scenario.watchdog.timeout_ticks),
        stages: scenario.stages(),
    })
}
