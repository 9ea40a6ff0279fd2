//! What all runs of a campaign are made from: a scenario, a kernel and a host, read and checked once.

use std::time::Duration;

use crate::campaign::args::SubjectArgs;
use crate::campaign::plan::Run;
use crate::campaign::row::Row;
use crate::error::{Error, Report};
use crate::experiment::{End, Laboratory};
use crate::kvm::Kvm;
use crate::loader::Blob;
use crate::machine::Model;
use crate::programs;
use crate::run::{self, MATRIX};
use crate::scenario::Scenario;
use crate::verdict::Fingerprints;

/// A scenario that can be run any number of times, on any number of threads.
pub struct Subject {
    /// The scenario, with its defaults.
    pub scenario: Scenario,
    /// All combinations of its sweep.
    pub cells: Vec<Cell>,
    /// What guests are made of, by their hashes.
    pub fingerprints: Fingerprints,
    module: Option<Blob>,
    kvm: Kvm,
    model: Model,
    silence: Duration,
}

/// A combination of a sweep's levels.
pub struct Cell {
    /// The keys that vary, with their values.
    pub labels: Vec<(String, String)>,
    /// The scenario with them.
    pub scenario: Scenario,
}

/// What became of a run.
#[derive(Debug)]
pub enum RunEnd {
    /// There is a row.
    Row(Box<Row>),
    /// This signal ended it.
    Signal(i32),
}

impl Subject {
    /// Reads and checks everything; so many guests will run at once.
    pub fn read(args: &SubjectArgs, jobs: usize) -> Result<Self, Error> {
        let scenario = Scenario::read(&args.scenario, args.seed, &args.sets)?;
        if scenario.vm.vms != 1 {
            return Err(Error::Input(Report::new(
                "a run of a campaign has one guest",
                format!("{}, key vm.vms", args.scenario.display()),
                "leave the key out, or add --set vm.vms=1; --jobs says how many run at once",
            )));
        }
        let module = scenario.vm.module.as_deref().map(run::read_module).transpose()?;
        let place = args.scenario.display().to_string();
        programs::check(&scenario, module.as_ref().map(|module| &*module.bytes), &place)?;
        let kvm = Kvm::open()?;
        Ok(Self {
            fingerprints: Fingerprints {
                image_sha256: run::sha256(MATRIX),
                module_sha256: module.as_ref().map(|module| run::sha256(&module.bytes)),
            },
            model: Model::of(&kvm)?,
            silence: run::silence(jobs),
            cells: vec![Cell { labels: Vec::new(), scenario: scenario.clone() }],
            scenario,
            module,
            kvm,
        })
    }

    /// Runs one guest in the calling thread.
    pub fn run(&self, run: Run) -> Result<RunEnd, Error> {
        let scenario = Scenario { seed: run.seed, ..self.cells[run.cell].scenario.clone() };
        let config = run::machine_config(&scenario, self.module.clone())?;
        let laboratory = Laboratory {
            scenario: &scenario,
            config: &config,
            fingerprints: &self.fingerprints,
            kvm: &self.kvm,
            model: &self.model,
            silence: self.silence,
            cores: false,
        };
        Ok(match laboratory.experiment(None)? {
            End::Signal(number) => RunEnd::Signal(number),
            End::Verdict(verdict) => RunEnd::Row(Box::new(Row::of(run, &verdict))),
        })
    }
}
