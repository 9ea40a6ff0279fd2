//! `architect minimise`: the least of a run that still ends as it did: faults first, then programs and load, then time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::campaign::ddmin::{ddmin, smallest};
use crate::campaign::recorded::RecordedRun;
use crate::campaign::subject::Subject;
use crate::error::{Error, Report, VmmError};
use crate::experiment::Compare;
use crate::faults::digest::Digest;
use crate::files::output::{AtomicFile, print};
use crate::scenario::{Expect, Load, Scenario};
use crate::terms::Outcome;

/// Reduce a run to the fewest faults, least load and shortest time with the same outcome
#[derive(Clone, Debug, Args)]
pub struct MinimiseArgs {
    /// A run's folder (--out DIR), or a run of a campaign's database by its number
    #[arg(value_name = "DIR|DB#RUN")]
    pub run: PathBuf,
    /// Write the smallest scenario to this file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Reduces a run; returns the exit status.
///
/// # Errors
///
/// There is no such run, a trial failed, a signal, or the run does not end again as it did.
pub fn minimise(args: &MinimiseArgs) -> Result<u8, Error> {
    let recorded = RecordedRun::find(&args.run)?;
    let file = args.out.as_deref().map(|path| AtomicFile::create("--out", path)).transpose()?;
    let mut trials = Trials {
        subject: Subject::new(recorded.scenario.clone(), &recorded.place)?,
        with_faults: !recorded.scenario.fault.is_empty(),
        golden: BTreeMap::new(),
        wanted: recorded.outcome.clone(),
        made: 0,
    };
    let Some(smallest) = trials.reduce(recorded.scenario.clone())? else {
        return Err(Error::Expectation(Report::new(
            format!(
                "the run does not end as recorded: the outcome `{}` is not reached again",
                recorded.outcome
            ),
            recorded.place,
            "`architect replay` shows where it differs",
        )));
    };
    eprintln!("{} runs were made", trials.made);
    let text = smallest.to_toml();
    match file {
        Some(file) => file.finish(|file| std::io::Write::write_all(file, text.as_bytes()))?,
        None => print(&text)?,
    }
    Ok(0)
}

/// Tries smaller scenarios.
struct Trials {
    subject: Subject,
    /// Whether the recorded run had faults: then their effect is to stay.
    with_faults: bool,
    /// Golden runs by their scenarios.
    golden: BTreeMap<String, Arc<Digest>>,
    wanted: String,
    made: usize,
}

impl Trials {
    /// The smallest scenario that was found; `None` if not even the first one ends as wanted.
    fn reduce(&mut self, mut scenario: Scenario) -> Result<Option<Scenario>, Error> {
        scenario.expect = Expect::default();
        if !self.holds(&scenario)? {
            return Ok(None);
        }
        let before = scenario.fault.len();
        scenario.fault = ddmin(&scenario.fault, |fault| {
            self.holds(&Scenario { fault: fault.to_vec(), ..scenario.clone() })
        })?;
        report("faults", before as u64, scenario.fault.len() as u64);

        let before = scenario.program.len();
        scenario.program = ddmin(&scenario.program, |program| {
            // A scenario without programs gets the default ones.
            Ok::<_, Error>(
                !program.is_empty()
                    && self.holds(&Scenario { program: program.to_vec(), ..scenario.clone() })?,
            )
        })?;
        report("programs", before as u64, scenario.program.len() as u64);

        for Key { name, least, get, set } in KEYS {
            let before = get(&scenario);
            let found = smallest(*least, before, |value| {
                let mut smaller = scenario.clone();
                set(&mut smaller, value);
                self.holds(&smaller)
            })?;
            set(&mut scenario, found);
            report(name, before, found);
        }
        scenario.expect.outcome = serde_json::from_value(self.wanted.as_str().into()).ok();
        Ok(Some(scenario))
    }

    fn holds(&mut self, scenario: &Scenario) -> Result<bool, Error> {
        if self.with_faults && scenario.fault.is_empty() {
            return Ok(self.wanted == Outcome::Masked.name());
        }
        // A fault may name a program that is gone: such a scenario cannot be read back.
        if Scenario::parse(&scenario.to_toml(), "a smaller scenario", None, &[]).is_err() {
            return Ok(false);
        }
        let golden = if self.with_faults { Some(self.golden(scenario)?) } else { None };
        let compare = golden.as_deref().map_or(Compare::Nothing, Compare::With);
        self.made += 1;
        let outcome = self.subject.experiment(scenario, compare, None, |verdict| verdict.outcome())?;
        Ok(outcome.name() == self.wanted)
    }

    /// The golden run of a scenario; the same for all that differ in faults alone.
    fn golden(&mut self, scenario: &Scenario) -> Result<Arc<Digest>, Error> {
        let golden = scenario.golden();
        let key = golden.to_toml();
        if let Some(known) = self.golden.get(&key) {
            return Ok(known.clone());
        }
        self.made += 1;
        let digest = self.subject.experiment(&golden, Compare::Golden, None, |verdict| verdict.digest)?;
        let digest = Arc::new(digest.ok_or_else(|| VmmError::Probe("a golden run has no digest".into()))?);
        self.golden.insert(key, digest.clone());
        Ok(digest)
    }
}

fn report(what: &str, before: u64, after: u64) {
    if before != after {
        eprintln!("{what}: {before} -> {after}");
    }
}

/// A number that may be smaller in a smaller run.
struct Key {
    name: &'static str,
    least: u64,
    get: fn(&Scenario) -> u64,
    set: fn(&mut Scenario, u64),
}

macro_rules! load {
    ($name:literal, $least:literal, $key:ident) => {
        Key {
            name: $name,
            least: $least,
            get: |scenario| scenario.load.$key.into(),
            set: |scenario, value| {
                let load = &mut scenario.load;
                *load = Load { $key: value.try_into().unwrap_or(load.$key), ..load.clone() };
            },
        }
    };
}

/// In the order of reduction; the run's length comes last.
const KEYS: &[Key] = &[
    load!("load.people", 0, people),
    load!("load.spawn-rate", 1, spawn_rate),
    load!("load.message-pages", 1, message_pages),
    load!("load.requests", 1, requests),
    load!("load.work-ticks", 0, work_ticks),
    Key {
        name: "vm.max-ticks",
        least: 1,
        get: |scenario| scenario.vm.max_ticks,
        set: |scenario, value| scenario.vm.max_ticks = value,
    },
];
