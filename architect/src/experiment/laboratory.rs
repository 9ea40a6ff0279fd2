//! What the guests of a run have in common.

use std::io;
use std::time::Duration;

use vmm::host::kvm::Kvm;
use vmm::machine::{Machine, MachineConfig, Model};

use crate::error::Error;
use crate::experiment::warm::Warm;
use crate::faults::digest::Digest;
use crate::faults::reset::PutBack;
use crate::guest::image::Fingerprints;
use crate::scenario::Scenario;

/// How long a guest may run without ringing before real time takes over, not counting the time it waits for
/// the host. The slowest known host rings some twenty times a second under full load.
pub const SILENCE: Duration = Duration::from_secs(10);

/// What all guests of a run have in common.
pub struct Laboratory<'a> {
    /// The scenario, with its defaults.
    pub scenario: &'a Scenario,
    /// What machines are built from.
    pub config: &'a MachineConfig,
    /// The hashes of image and boot module.
    pub fingerprints: &'a Fingerprints,
    /// The host's KVM.
    pub kvm: &'a Kvm,
    /// The model of machine.
    pub model: &'a Model,
    /// How long a guest may go without ringing before real time takes over.
    pub silence: Duration,
    /// Whether each incarnation leaves a core file in the run's folder.
    pub cores: bool,
    /// Where guests start from, if [`Laboratory::warm`] was called.
    pub warm: Option<Warm>,
    /// What runs are compared with.
    pub compare: Compare<'a>,
}

/// What runs are compared with.
#[derive(Clone, Copy, Debug)]
pub enum Compare<'a> {
    /// Nothing.
    Nothing,
    /// Others will be compared with this run: it gets a digest.
    Golden,
    /// The same, and it is also recorded which of its state is never read.
    Watched,
    /// The golden run with this digest.
    With(&'a Digest),
}

impl Compare<'_> {
    /// Whether the run is summed up in a digest.
    pub(super) fn needs_digest(self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

impl Laboratory<'_> {
    /// Boots a guest from which all others start. Without it each guest boots by itself, with the same
    /// outcome. A laboratory of the same image, module and memory can have a clone of [`Laboratory::warm`].
    ///
    /// # Errors
    ///
    /// The machine could not be built or run.
    pub fn warm(&mut self) -> Result<(), Error> {
        self.warm = Warm::boot(self.kvm, self.model, self.config, self.silence)?;
        Ok(())
    }

    /// The warm guest that guests start from, if they do not boot by themselves.
    fn base(&self) -> Option<&Warm> {
        self.warm.as_ref().filter(|warm| warm.serves(self.config))
    }

    /// What guests start from after a reset.
    pub(super) fn put_back(&self) -> PutBack {
        if self.base().is_some() { PutBack::Snapshot } else { PutBack::Boot }
    }

    /// A machine for the next incarnation.
    pub(super) fn machine<W: io::Write>(&self, console: W) -> Result<Machine<W>, Error> {
        match self.base() {
            Some(warm) => warm.next(self.kvm, self.model, self.config, console),
            None => Ok(Machine::new(self.kvm, self.model, self.config, console)?),
        }
    }

    /// Keeps the VM of an incarnation that has ended.
    pub(super) fn retire<W: io::Write>(&self, machine: Machine<W>) {
        if let Some(warm) = &self.warm {
            warm.retire(machine);
        }
    }
}
