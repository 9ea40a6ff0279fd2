//! The warm start: a guest is booted once, up to its first doorbell, and every incarnation starts from there.
//!
//! When the Matrix rings for the first time it has not yet read its command line. So one snapshot serves all
//! seeds, loads and fixes: each guest finds its own command line there. A machine that is started from the
//! snapshot first returns the events up to there, so that a warm run has the same events as a cold one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use abi::info::Doorbell;

use crate::error::{Error, Report};
use crate::files::output::AtomicFile;
use crate::guest::image::Fingerprints;
use vmm::host::kvm::Kvm;
use vmm::machine::loader::pvh;
use vmm::machine::pool::Pool;
use vmm::machine::snapshot::{self, Snapshot};
use vmm::machine::{Event, Machine, MachineConfig, Model};
use vmm::wall::{Wall, WallConfig};

/// A booted guest, and VMs for the guests that start from it. Clones share both.
#[derive(Clone)]
pub struct Warm {
    snapshot: Arc<Snapshot>,
    pool: Arc<Pool>,
    /// What it was built from.
    config: Arc<MachineConfig>,
}

impl Warm {
    /// Boots a guest up to its first doorbell; `None` if it does anything else before, or takes longer than
    /// `patience`.
    ///
    /// # Errors
    ///
    /// The machine could not be built or run.
    pub fn boot(
        kvm: &Kvm,
        model: &Model,
        config: &MachineConfig,
        patience: Duration,
    ) -> Result<Option<Self>, Error> {
        let config = MachineConfig { cmdline: String::new(), ..config.clone() };
        let (wall, _events) = Wall::spawn(WallConfig { timeout: Some(patience), ..WallConfig::default() })?;
        let mut machine = Machine::new_for_snapshots(kvm, model, &config, Vec::new())?;
        machine.attach(wall.kick());
        let mut told = Vec::new();
        loop {
            let event = machine.step()?;
            told.push(event);
            match told.last() {
                Some(Event::Doorbell { reason: Doorbell::Hello, .. }) => break,
                Some(Event::Stray { .. } | Event::OutputWaits | Event::WatchdogChanged) => {}
                _ => return Ok(None),
            }
        }
        machine.bus_mut().serial.flush();
        let said = std::mem::take(machine.bus_mut().serial.output_mut());
        let snapshot = Arc::new(machine.snapshot()?.with_history(told, said));
        let pool = Arc::new(Pool::new());
        machine.set_origin(&snapshot);
        pool.keep(machine);
        Ok(Some(Self { snapshot, pool, config: Arc::new(config) }))
    }

    /// Loads the snapshot of such a guest; `option` named the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is a snapshot of another guest.
    pub fn load(
        option: &str,
        path: &Path,
        config: &MachineConfig,
        fingerprints: &Fingerprints,
    ) -> Result<Self, Error> {
        let (snapshot, origin) = snapshot::load(option, path)?;
        let memory_mib = snapshot.memory().memory_mib();
        let other = if origin != fingerprints.origin() {
            "the snapshot was taken of another image or boot module".to_owned()
        } else if memory_mib != config.memory_mib {
            format!(
                "the snapshot is of a guest with {memory_mib} MiB, the scenario wants {}",
                config.memory_mib
            )
        } else {
            let config = Arc::new(MachineConfig { cmdline: String::new(), ..config.clone() });
            return Ok(Self { snapshot: Arc::new(snapshot), pool: Arc::new(Pool::new()), config });
        };
        let remedy = "take a snapshot of this scenario with --save-snapshot, or run without one";
        Err(Error::Input(Report::new(other, format!("{option} {}", path.display()), remedy)))
    }

    /// Saves the guest at its first doorbell.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, fingerprints: &Fingerprints, file: AtomicFile) -> Result<(), Error> {
        file.finish(|file| snapshot::save(&self.snapshot, &fingerprints.origin(), file))
    }

    /// The guest at its first doorbell.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Whether a guest of this configuration can start from here.
    pub(super) fn serves(&self, config: &MachineConfig) -> bool {
        let (ours, theirs) = (self.config.image.bytes(), config.image.bytes());
        self.config.memory_mib == config.memory_mib
            && (std::ptr::eq(ours, theirs) || ours == theirs)
            && match (&self.config.module, &config.module) {
                (Some(ours), Some(theirs)) => ours.bytes == theirs.bytes,
                (ours, theirs) => ours.is_none() && theirs.is_none(),
            }
    }

    /// Starts a guest of this configuration from here, in an idle VM of this pool if there is one.
    ///
    /// # Errors
    ///
    /// The host cannot provide a VM.
    pub fn fork<W: io::Write>(
        &self,
        pool: &Pool,
        host: (&Kvm, &Model),
        config: &MachineConfig,
        console: W,
    ) -> Result<Machine<W>, Error> {
        let machine = pool.fork(host, &self.snapshot, (config.timeout, config.stages), console)?;
        pvh::write_command_line(machine.memory(), &config.cmdline);
        Ok(machine)
    }

    /// The same, in a VM of this guest's own pool.
    pub(super) fn next<W: io::Write>(
        &self,
        kvm: &Kvm,
        model: &Model,
        config: &MachineConfig,
        console: W,
    ) -> Result<Machine<W>, Error> {
        self.fork(&self.pool, (kvm, model), config, console)
    }

    /// Keeps the VM of a guest that has ended.
    pub(super) fn retire<W: io::Write>(&self, machine: Machine<W>) {
        self.pool.keep(machine);
    }
}
