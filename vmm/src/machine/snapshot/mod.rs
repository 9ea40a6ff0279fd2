//! Snapshots: a guest as it was at one moment, from which any number of guests go on.
//!
//! A [`Snapshot`] never changes. A machine that goes on from it has its memory mapped copy-on-write, so that it costs only
//! what it writes; a machine that goes *back* to it has only those pages put back. A [`Pool`] keeps the VMs of guests that
//! have ended for those that come.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use devices::watchdog::{Stages, Timeout};

use crate::error::Error;
use crate::host::kvm::{CpuState, Kvm};
use crate::host::memory::{Backing, WholeMemory};
use crate::machine::board::{Board, BoardState};
use crate::machine::{Chassis, Event, Machine, Model};

mod file;

pub use file::{Origin, load, save};

/// A guest at one moment: between two instructions, after the access that it had stopped at.
pub struct Snapshot {
    cpu: CpuState,
    board: BoardState,
    memory: Backing,
    /// What its console had said.
    console: Vec<u8>,
}

impl Snapshot {
    pub(crate) fn new(cpu: CpuState, board: BoardState, memory: Backing) -> Self {
        Self { cpu, board, memory, console: Vec::new() }
    }

    /// Who goes on from here is told these events first, and that this was said on the console: so it looks as if the guest
    /// had come here by itself.
    pub fn told(mut self, events: impl IntoIterator<Item = Event>, console: Vec<u8>) -> Self {
        let waiting = std::mem::take(&mut self.board.queue);
        self.board.queue = events.into_iter().chain(waiting).collect();
        self.console = console;
        self
    }

    /// What its console had said.
    pub fn console(&self) -> &[u8] {
        &self.console
    }

    /// Its memory.
    pub fn memory(&self) -> &Backing {
        &self.memory
    }

    /// Its processor.
    pub fn cpu(&self) -> &CpuState {
        &self.cpu
    }

    /// Everything else.
    pub fn board(&self) -> &BoardState {
        &self.board
    }

    /// Puts a board into the state that it had.
    pub(crate) fn set<W: io::Write>(&self, board: &mut Board<W>) {
        board.restore(&self.board);
        if !self.console.is_empty() {
            // An output that does not take it says so at the next flush of the console, as ever.
            let _ = board.bus.serial.output_mut().write_all(&self.console);
        }
    }
}

/// A fingerprint of all that a memory holds.
pub fn hash(memory: &impl WholeMemory) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    memory.each_page(|_, page| {
        hasher.update(page);
    });
    hasher.finalize()
}

/// VMs that wait for their next guest. Threads can share it; each is given those first that it has used before, as
/// KVM likes best.
#[derive(Default)]
pub struct Pool {
    waiting: Mutex<Vec<(ThreadId, Chassis)>>,
}

/// VMs that wait at most: what is more is dropped.
const MOST_WAITING: usize = 64;

impl Pool {
    /// A pool without VMs.
    pub fn new() -> Self {
        Self::default()
    }

    /// A machine that goes on where `snapshot` was taken, with a watchdog of these properties.
    pub fn fork<W: io::Write>(
        &self,
        (kvm, model): (&Kvm, &Model),
        snapshot: &Arc<Snapshot>,
        watchdog: (Timeout, Stages),
        console: W,
    ) -> Result<Machine<W>, Error> {
        match self.take(snapshot) {
            Some(chassis) => Machine::fork_in(chassis, (kvm, model), snapshot, watchdog, console),
            None => Machine::fork(kvm, model, snapshot, watchdog, console),
        }
    }

    /// Keeps the VM of a machine that is not needed any more.
    pub fn keep<W: io::Write>(&self, machine: Machine<W>) {
        let Some(chassis) = machine.into_chassis() else { return };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING {
            waiting.push((std::thread::current().id(), chassis));
        }
    }

    /// VMs that wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The VM that costs least to bring there: of this thread, and from the same snapshot.
    fn take(&self, snapshot: &Arc<Snapshot>) -> Option<Chassis> {
        let thread = std::thread::current().id();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let suits =
            |chassis: &Chassis| chassis.origin().memory().memory_mib() == snapshot.memory().memory_mib();
        let cost =
            |(by, chassis): &(ThreadId, Chassis)| (!Arc::ptr_eq(chassis.origin(), snapshot), *by != thread);
        let candidates = waiting.iter().enumerate().filter(|(_, (_, chassis))| suits(chassis));
        let (nth, _) = candidates.min_by_key(|(_, each)| cost(each))?;
        Some(waiting.swap_remove(nth).1)
    }
}
