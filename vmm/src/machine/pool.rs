//! VMs of guests that have ended, kept for the guests to come: to restore a VM is cheaper than to create one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use devices::watchdog::{Stages, Timeout};

use crate::error::Error;
use crate::host::kvm::Kvm;
use crate::machine::model::Model;
use crate::machine::snapshot::Snapshot;
use crate::machine::vm::{Machine, PooledVm};

/// Idle VMs, each waiting for its next guest. Threads can share a pool; a thread gets VMs that it has used
/// before first, because KVM is fastest with those.
#[derive(Default)]
pub struct Pool {
    waiting: Mutex<Vec<(ThreadId, PooledVm)>>,
}

/// Most VMs that are kept; further ones are closed.
const MOST_WAITING: usize = 64;

impl Pool {
    /// A pool without VMs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a guest from `snapshot`, with a watchdog of these properties, in an idle VM if there is one.
    pub fn fork<W: io::Write>(
        &self,
        (kvm, model): (&Kvm, &Model),
        snapshot: &Arc<Snapshot>,
        watchdog: (Timeout, Stages),
        console: W,
    ) -> Result<Machine<W>, Error> {
        match self.take(snapshot) {
            Some(pooled) => Machine::fork_into(pooled, (kvm, model), snapshot, watchdog, console),
            None => Machine::fork(kvm, model, snapshot, watchdog, console),
        }
    }

    /// Keeps the VM of a machine that is no longer needed.
    pub fn keep<W: io::Write>(&self, machine: Machine<W>) {
        let Some(pooled) = machine.into_pooled_vm() else { return };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING {
            waiting.push((std::thread::current().id(), pooled));
        }
    }

    /// The number of idle VMs.
    pub fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is no idle VM.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the VM that is cheapest to restore: one that was started from the same snapshot, then one of
    /// this thread.
    fn take(&self, snapshot: &Arc<Snapshot>) -> Option<PooledVm> {
        let thread = std::thread::current().id();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let suits =
            |pooled: &PooledVm| pooled.origin().memory().memory_mib() == snapshot.memory().memory_mib();
        let cost =
            |(by, pooled): &(ThreadId, PooledVm)| (!Arc::ptr_eq(pooled.origin(), snapshot), *by != thread);
        let candidates = waiting.iter().enumerate().filter(|(_, (_, pooled))| suits(pooled));
        let (nth, _) = candidates.min_by_key(|(_, each)| cost(each))?;
        Some(waiting.swap_remove(nth).1)
    }
}
