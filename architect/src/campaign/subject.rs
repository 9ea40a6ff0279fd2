//! What all runs of a campaign are made from: a scenario, a kernel and a host, read and checked once.
//!
//! A run with faults is held against its *golden run*, the same without them. Where the seed stays and only the faults
//! are others, all runs of a cell have the same golden run, which is made once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::campaign::golden::Golden;
use crate::campaign::identity::Identity;
use crate::campaign::plan::{Run, Vary};
use crate::campaign::row::Row;
use crate::campaign::shard::Shard;
use crate::error::{Error, Report};
use crate::experiment::{Compare, Laboratory, SILENCE, Warm, check_code, check_programs, machine_config};
use crate::guest::image::{Fingerprints, read_module};
use crate::scenario::{Cell, Scenario, Start};
use crate::verdict::Verdict;
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

impl Subject {
    /// Checks the scenario and boots what its runs start from; `place` names it in messages.
    ///
    /// # Errors
    ///
    /// The scenario does not fit its programs or a campaign, or this host cannot run guests.
    pub fn new(scenario: Scenario, place: &str) -> Result<Self, Error> {
        if scenario.vm.vms != 1 {
            return Err(Error::Input(Report::new(
                "a run of a campaign has one guest",
                format!("{place}, key vm.vms"),
                "leave the key out, or add --set vm.vms=1; --jobs says how many run at once",
            )));
        }
        let module = scenario.vm.module.as_deref().map(read_module).transpose()?;
        let cells = scenario.cells();
        for cell in &cells {
            check_programs(&cell.scenario, module.as_ref().map(|module| &*module.bytes), place)?;
            check_code(&cell.scenario, place)?;
        }
        let kvm = Kvm::open()?;
        let model = Model::of(&kvm)?;
        let mut warm = BTreeMap::new();
        for Cell { scenario, .. } in cells.iter().filter(|cell| cell.scenario.vm.start == Start::Warm) {
            let memory = scenario.vm.memory_mib;
            if !warm.contains_key(&memory) {
                let config = machine_config(scenario, module.clone())?;
                warm.extend(Warm::boot(&kvm, &model, &config, SILENCE)?.map(|warm| (memory, warm)));
            }
        }
        Ok(Self {
            prune: false,
            fingerprints: Fingerprints::of(module.as_ref()),
            model,
            warm,
            golden: Mutex::default(),
            cells,
            scenario,
            module,
            kvm,
        })
    }

    /// What makes the campaign of these runs the same as another one.
    pub fn identity(&self, vary: Vary, shard: Shard) -> Identity {
        Identity::new(&self.scenario, &self.cells, &self.fingerprints, (vary, self.prune, shard))
    }

    /// What varies from run to run by default.
    pub fn vary(&self) -> Vary {
        if self.scenario.fault.is_empty() { Vary::Seed } else { Vary::Faults }
    }

    /// From now on, runs whose rows follow from the golden run are not made.
    ///
    /// # Errors
    ///
    /// Runs have no golden run in common.
    pub fn prune(&mut self, vary: Vary) -> Result<(), Error> {
        if self.scenario.fault.is_empty() || vary == Vary::Seed {
            return Err(Error::Input(Report::new(
                "pruning needs a golden run that many runs have in common, and these runs have none",
                "--prune",
                "leave it out; it is for scenarios with faults, without --vary seed",
            )));
        }
        self.prune = true;
        Ok(())
    }

    /// The scenario of a run, with nothing left open, and what its guest is made from.
    pub fn prepare(&self, run: Run) -> Result<(Scenario, MachineConfig), Error> {
        // A plan has only runs of cells that there are.
        let scenario = run.resolve(&self.cells).unwrap_or_else(|| self.scenario.resolve(run.draw));
        let config = machine_config(&scenario, self.module.clone())?;
        Ok((scenario, config))
    }

    /// Makes one run in the calling thread.
    ///
    /// # Errors
    ///
    /// The machine failed, or a signal interrupted the run.
    pub fn run(&self, run: Run) -> Result<Row, Error> {
        let (scenario, config) = self.prepare(run)?;
        let golden = self.golden(run, &scenario)?;
        if let Some(row) = golden.as_deref().and_then(|golden| golden.foretell(run, &scenario)) {
            return Ok(row);
        }
        let compare = golden.as_deref().map_or(Compare::Nothing, |golden| Compare::With(&golden.digest));
        self.experiment_of((&scenario, &config), compare, None, |verdict| Row::of(run, &verdict))
    }

    /// The golden run of a run with faults.
    fn golden(&self, run: Run, scenario: &Scenario) -> Result<Option<Arc<Golden>>, Error> {
        if self.scenario.fault.is_empty() {
            return Ok(None);
        }
        let key = (run.cell, run.seed);
        let golden = {
            let mut all = self.golden.lock().unwrap_or_else(PoisonError::into_inner);
            // Seeds only grow, so where they vary the lowest is not asked for again; the last few are in use.
            while all.len() > KEPT && all.first_key_value().is_some_and(|(first, _)| *first != key) {
                all.pop_first();
            }
            all.entry(key).or_default().clone()
        };
        // The first thread makes it; the others wait here.
        let mut golden = golden.lock().unwrap_or_else(PoisonError::into_inner);
        if golden.is_none() {
            let compare = if self.prune { Compare::Watched } else { Compare::Golden };
            let made =
                self.experiment(&scenario.golden(), compare, None, |verdict| Golden::of(run, verdict))?;
            *golden = made.map(Arc::new);
        }
        Ok(golden.clone())
    }

    /// Runs one guest of a resolved scenario and returns what `take` makes of its verdict. Its files go to `out`.
    ///
    /// # Errors
    ///
    /// As for [`Subject::run`].
    pub fn experiment<T>(
        &self,
        scenario: &Scenario,
        compare: Compare<'_>,
        out: Option<&Path>,
        take: impl FnOnce(Verdict<'_>) -> T,
    ) -> Result<T, Error> {
        let config = machine_config(scenario, self.module.clone())?;
        self.experiment_of((scenario, &config), compare, out, take)
    }

    fn experiment_of<T>(
        &self,
        (scenario, config): (&Scenario, &MachineConfig),
        compare: Compare<'_>,
        out: Option<&Path>,
        take: impl FnOnce(Verdict<'_>) -> T,
    ) -> Result<T, Error> {
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
        laboratory.experiment(out).map(take)
    }
}

/// Golden runs that are kept: more than there can be cells in a round.
const KEPT: usize = 1 << 13;
