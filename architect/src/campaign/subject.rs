//! What all runs of a campaign are made from: a scenario, a kernel and a host, read and checked once.
//!
//! A run with faults is held against its *golden run*, the same without them. Where the seed stays and only the faults
//! are others, all runs of a cell have the same golden run, which is made once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::campaign::args::SubjectArgs;
use crate::campaign::golden::Golden;
use crate::campaign::plan::{Run, Vary};
use crate::campaign::row::Row;
use crate::cli::run::{self, SILENCE};
use crate::error::{Error, Report};
use crate::experiment::{Compare, End, Laboratory, Warm};
use crate::guest::programs;
use crate::scenario::{Cell, Scenario, Start};
use crate::verdict::{Fingerprints, Verdict};
use vmm::host::kvm::Kvm;
use vmm::machine::loader::Blob;
use vmm::machine::{MachineConfig, Model};

/// A scenario that can be run any number of times, on any number of threads.
pub struct Subject {
    /// The scenario, with its defaults.
    pub scenario: Scenario,
    /// All combinations of its sweep.
    pub cells: Vec<Cell>,
    /// Whether runs are left out that need not be made.
    pub prune: bool,
    /// What guests are made of, by their hashes.
    pub fingerprints: Fingerprints,
    module: Option<Blob>,
    kvm: Kvm,
    model: Model,
    /// A guest that has booted, for each size of memory: the others go on from there.
    warm: BTreeMap<u32, Warm>,
    /// The golden run of each cell and seed, being made or there.
    golden: Mutex<BTreeMap<(usize, u64), Made>>,
}

/// A golden run, once it is there.
type Made = Arc<Mutex<Option<Arc<Golden>>>>;

/// What became of a run.
#[derive(Debug)]
pub enum RunEnd<T = Box<Row>> {
    /// There is a row.
    Row(T),
    /// This signal ended it.
    Signal(i32),
}

impl Subject {
    /// Reads and checks everything.
    pub fn read(args: &SubjectArgs) -> Result<Self, Error> {
        let scenario = Scenario::read(&args.scenario, args.seed, &args.sets)?;
        Self::of(scenario, &args.scenario.display().to_string())
    }

    /// The same from a scenario that was read; `place` names it in messages.
    pub fn of(scenario: Scenario, place: &str) -> Result<Self, Error> {
        if scenario.vm.vms != 1 {
            return Err(Error::Input(Report::new(
                "each run has one guest here",
                format!("{place}, key vm.vms"),
                "leave the key out, or add --set vm.vms=1; --jobs says how many run at once",
            )));
        }
        let module = scenario.vm.module.as_deref().map(run::read_module).transpose()?;
        let cells = scenario.cells();
        for cell in &cells {
            programs::check(&cell.scenario, module.as_ref().map(|module| &*module.bytes), place)?;
            programs::check_code(&cell.scenario, place)?;
        }
        let kvm = Kvm::open()?;
        let model = Model::of(&kvm)?;
        let mut warm = BTreeMap::new();
        for Cell { scenario, .. } in cells.iter().filter(|cell| cell.scenario.vm.start == Start::Warm) {
            let memory = scenario.vm.memory_mib;
            if !warm.contains_key(&memory) {
                let config = run::machine_config(scenario, module.clone())?;
                warm.extend(Warm::boot(&kvm, &model, &config, SILENCE)?.map(|warm| (memory, warm)));
            }
        }
        Ok(Self {
            prune: false,
            fingerprints: run::fingerprints(module.as_ref()),
            model,
            warm,
            golden: Mutex::default(),
            cells,
            scenario,
            module,
            kvm,
        })
    }

    /// What runs differ in, unless it is said otherwise.
    pub fn vary(&self) -> Vary {
        if self.scenario.fault.is_empty() { Vary::Seed } else { Vary::Faults }
    }

    /// From now on runs are left out that need not be made.
    pub fn prune(&mut self, vary: Vary) -> Result<(), Error> {
        if self.scenario.fault.is_empty() || vary == Vary::Seed {
            return Err(Error::Input(Report::new(
                "what need not be run is known from a golden run that many runs have in common, and here they have none",
                "--prune",
                "leave it out; it is for scenarios with faults, and without --vary seed",
            )));
        }
        self.prune = true;
        Ok(())
    }

    /// The scenario of a run, with nothing left open, and what its guest is made from.
    pub fn prepare(&self, run: Run) -> Result<(Scenario, MachineConfig), Error> {
        // A plan has only runs of cells that there are.
        let scenario = run.resolve(&self.cells).unwrap_or_else(|| self.scenario.resolve(run.draw));
        let config = run::machine_config(&scenario, self.module.clone())?;
        Ok((scenario, config))
    }

    /// Runs one guest in the calling thread.
    pub fn run(&self, run: Run) -> Result<RunEnd, Error> {
        let (scenario, config) = self.prepare(run)?;
        let golden = match self.golden(run, &scenario)? {
            RunEnd::Signal(number) => return Ok(RunEnd::Signal(number)),
            RunEnd::Row(golden) => golden,
        };
        if let Some(row) = golden.as_deref().and_then(|golden| golden.foretell(run, &scenario)) {
            return Ok(RunEnd::Row(Box::new(row)));
        }
        let compare = golden.as_deref().map_or(Compare::Nothing, |golden| Compare::With(&golden.digest));
        self.experiment_of((&scenario, &config), compare, None, |verdict| Box::new(Row::of(run, &verdict)))
    }

    /// The golden run of a run with faults.
    fn golden(&self, run: Run, scenario: &Scenario) -> Result<RunEnd<Option<Arc<Golden>>>, Error> {
        if self.scenario.fault.is_empty() {
            return Ok(RunEnd::Row(None));
        }
        let key = (run.cell, run.seed);
        let golden = {
            let mut all = self.golden.lock().unwrap_or_else(PoisonError::into_inner);
            // Seeds go upwards, so where they vary the lowest will not be asked for again; a few are being used.
            while all.len() > KEPT && all.first_key_value().is_some_and(|(first, _)| *first != key) {
                all.pop_first();
            }
            all.entry(key).or_default().clone()
        };
        // Whoever comes first makes it; the others wait here.
        let mut golden = golden.lock().unwrap_or_else(PoisonError::into_inner);
        if golden.is_none() {
            let compare = if self.prune { Compare::Watched } else { Compare::Golden };
            match self.experiment(&scenario.golden(), compare, None, |verdict| Golden::of(run, verdict))? {
                RunEnd::Signal(number) => return Ok(RunEnd::Signal(number)),
                RunEnd::Row(made) => *golden = made.map(Arc::new),
            }
        }
        Ok(RunEnd::Row(golden.clone()))
    }

    /// One guest of a scenario with nothing left open, and what `take` makes of its verdict. Its files go to `out`.
    pub fn experiment<T>(
        &self,
        scenario: &Scenario,
        compare: Compare<'_>,
        out: Option<&Path>,
        take: impl FnOnce(Verdict<'_>) -> T,
    ) -> Result<RunEnd<T>, Error> {
        let config = run::machine_config(scenario, self.module.clone())?;
        self.experiment_of((scenario, &config), compare, out, take)
    }

    fn experiment_of<T>(
        &self,
        (scenario, config): (&Scenario, &MachineConfig),
        compare: Compare<'_>,
        out: Option<&Path>,
        take: impl FnOnce(Verdict<'_>) -> T,
    ) -> Result<RunEnd<T>, Error> {
        let laboratory = Laboratory {
            scenario,
            config,
            fingerprints: &self.fingerprints,
            kvm: &self.kvm,
            model: &self.model,
            silence: SILENCE,
            cores: false,
            compare,
            warm: match scenario.vm.start {
                Start::Warm => self.warm.get(&scenario.vm.memory_mib).cloned(),
                Start::Cold => None,
            },
        };
        Ok(match laboratory.experiment(out)? {
            End::Signal(number) => RunEnd::Signal(number),
            End::Verdict(verdict) => RunEnd::Row(take(*verdict)),
        })
    }
}

/// Golden runs that are kept: more than there can be cells in a round.
const KEPT: usize = 1 << 13;
