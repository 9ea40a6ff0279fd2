//! [`Snapshot`]: the state of a guest at one moment.

use std::io;

use crate::host::kvm::CpuState;
use crate::host::memory::{Backing, WholeMemory};
use crate::machine::board::{Board, BoardState};
use crate::machine::event::Event;

/// The state of a guest between two instructions, after the access that it had stopped at.
pub struct Snapshot {
    cpu: CpuState,
    board: BoardState,
    memory: Backing,
    /// The console output up to that moment.
    console: Vec<u8>,
}

impl Snapshot {
    pub(crate) fn new(cpu: CpuState, board: BoardState, memory: Backing) -> Self {
        Self { cpu, board, memory, console: Vec::new() }
    }

    /// Adds what came before: a machine that is started from here first returns these events and writes this
    /// console output, as if the guest had come here by itself.
    pub fn with_history(mut self, events: impl IntoIterator<Item = Event>, console: Vec<u8>) -> Self {
        let waiting = std::mem::take(&mut self.board.queue);
        self.board.queue = events.into_iter().chain(waiting).collect();
        self.console = console;
        self
    }

    /// The console output up to that moment.
    pub fn console(&self) -> &[u8] {
        &self.console
    }

    /// The contents of its memory.
    pub fn memory(&self) -> &Backing {
        &self.memory
    }

    /// The state of its processor.
    pub fn cpu(&self) -> &CpuState {
        &self.cpu
    }

    /// The state of its devices.
    pub fn board(&self) -> &BoardState {
        &self.board
    }

    /// Restores the state of a board.
    pub(crate) fn apply_to<W: io::Write>(&self, board: &mut Board<W>) {
        board.restore(&self.board);
        if !self.console.is_empty() {
            // An error of the output is reported at the next flush of the console, as always.
            let _ = board.bus.serial.output_mut().write_all(&self.console);
        }
    }
}

/// The BLAKE3 hash of all pages of a memory.
pub fn hash(memory: &impl WholeMemory) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    memory.each_page(|_, page| {
        hasher.update(page);
    });
    hasher.finalize()
}
