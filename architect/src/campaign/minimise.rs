//! `architect minimise`: the least of a run that still ends as it did: faults first, then programs and load, then time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::campaign::again::Again;
use crate::campaign::args::MinimiseArgs;
use crate::campaign::ddmin::{ddmin, smallest};
use crate::campaign::subject::{RunEnd, Subject};
use crate::cli::run;
use crate::error::{Error, Report, VmmError};
use crate::experiment::Compare;
use crate::faults::digest::Digest;
use crate::files::output::AtomicFile;
use crate::scenario::{Expect, Load, Scenario};
use crate::verdict::Outcome;

/// Makes a run smaller; gives the exit status.
pub fn minimise(args: &MinimiseArgs) -> Result<u8, Error> {
    let again = Again::find(&args.run)?;
    let file = args.out.as_deref().map(|path| AtomicFile::create("--out", path)).transpose()?;
    let mut trials = Trials {
        subject: Subject::of(again.scenario.clone(), &again.place)?,
        with_faults: !again.scenario.fault.is_empty(),
        golden: BTreeMap::new(),
        wanted: again.outcome.clone(),
        made: 0,
    };
    let smallest = match trials.reduce(again.scenario.clone()) {
        Ok(smallest) => smallest,
        Err(Stopped::Signal(number)) => return Ok(run::status_of_signal(number)),
        Err(Stopped::Error(error)) => return Err(error),
    };
    let Some(smallest) = smallest else {
        return Err(Error::Expectation(Report::new(
            format!("the run does not end as it did: the outcome `{}` is not reached again", again.outcome),
            again.place,
            "`architect replay` says where it differs",
        )));
    };
    eprintln!("{} runs were made", trials.made);
    let text = smallest.to_toml();
    match file {
        Some(file) => file.finish(|file| std::io::Write::write_all(file, text.as_bytes()))?,
        None => run::print(&text)?,
    }
    Ok(0)
}

/// Why it stopped before its end.
enum Stopped {
    Signal(i32),
    Error(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Tries scenarios, and says whether they end as wanted.
struct Trials {
    subject: Subject,
    /// Whether the run that is made smaller had faults: then it is their effect that is to stay.
    with_faults: bool,
    /// Golden runs by their scenarios.
    golden: BTreeMap<String, Arc<Digest>>,
    wanted: String,
    made: usize,
}

impl Trials {
    /// The smallest scenario that was found; `None` if not even the first one ends as wanted.
    fn reduce(&mut self, mut scenario: Scenario) -> Result<Option<Scenario>, Stopped> {
        scenario.expect = Expect::default();
        if !self.holds(&scenario)? {
            return Ok(None);
        }
        let before = scenario.fault.len();
        scenario.fault = ddmin(&scenario.fault, |fault| {
            self.holds(&Scenario { fault: fault.to_vec(), ..scenario.clone() })
        })?;
        tell("faults", before as u64, scenario.fault.len() as u64);

        let before = scenario.program.len();
        scenario.program = ddmin(&scenario.program, |program| {
            // Without an entry a scenario would get those of the default.
            Ok::<_, Stopped>(
                !program.is_empty()
                    && self.holds(&Scenario { program: program.to_vec(), ..scenario.clone() })?,
            )
        })?;
        tell("programs", before as u64, scenario.program.len() as u64);

        for Key { name, least, get, set } in KEYS {
            let before = get(&scenario);
            let found = smallest(*least, before, |value| {
                let mut smaller = scenario.clone();
                set(&mut smaller, value);
                self.holds(&smaller)
            })?;
            set(&mut scenario, found);
            tell(name, before, found);
        }
        scenario.expect.outcome = serde_json::from_value(self.wanted.as_str().into()).ok();
        Ok(Some(scenario))
    }

    fn holds(&mut self, scenario: &Scenario) -> Result<bool, Stopped> {
        if self.with_faults && scenario.fault.is_empty() {
            return Ok(self.wanted == Outcome::Masked.name());
        }
        // What cannot be written down and read again is no result: a fault may name a program that is gone.
        if Scenario::parse(&scenario.to_toml(), "a smaller scenario", None, &[]).is_err() {
            return Ok(false);
        }
        let golden = if self.with_faults { Some(self.golden(scenario)?) } else { None };
        let compare = golden.as_deref().map_or(Compare::Nothing, Compare::With);
        self.made += 1;
        match self.subject.experiment(scenario, compare, None, |verdict| verdict.outcome())? {
            RunEnd::Signal(number) => Err(Stopped::Signal(number)),
            RunEnd::Row(outcome) => Ok(outcome.name() == self.wanted),
        }
    }

    /// The golden run of a scenario; the same for all that differ in faults alone.
    fn golden(&mut self, scenario: &Scenario) -> Result<Arc<Digest>, Stopped> {
        let golden = scenario.golden();
        let key = golden.to_toml();
        if let Some(known) = self.golden.get(&key) {
            return Ok(known.clone());
        }
        self.made += 1;
        let made = self.subject.experiment(&golden, Compare::Golden, None, |verdict| verdict.digest)?;
        let digest = match made {
            RunEnd::Signal(number) => return Err(Stopped::Signal(number)),
            RunEnd::Row(digest) => Arc::new(
                digest.ok_or(VmmError::Probe("a golden run has no digest".into())).map_err(Error::from)?,
            ),
        };
        self.golden.insert(key, digest.clone());
        Ok(digest)
    }
}

fn tell(what: &str, before: u64, after: u64) {
    if before != after {
        eprintln!("{what}: {before} -> {after}");
    }
}

/// A number that a smaller run may have less of.
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

/// In the order in which they are made smaller; the run's length comes last.
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
