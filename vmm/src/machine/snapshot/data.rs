//! [`Snapshot`]: the state of a guest at one moment.

use std::io;

use crate::host::kvm::CpuState;
use crate::host::memory::{Backing, WholeMemory};
use crate::machine::board::{Board, BoardState};
use crate::machine::event::Event;

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
    pub fn with_history(mut self, events: impl IntoIterator<Item = Event>, console: Vec<u8>) -> Self {
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
    pub(crate) fn apply_to<W: io::Write>(&self, board: &mut Board<W>) {
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
