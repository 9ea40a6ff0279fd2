//! The traps in the guest's code: planted, lifted, stepped over ([`crate::faults::code`] says how and why).

use abi::GuestVirt;
use introspect::x86::memory::PhysicalMemory;
use vmm::machine::Machine;

use crate::experiment::incarnation::Console;
use crate::faults::code::{TRAP, Trap, Traps};

/// The traps of an incarnation.
#[derive(Default)]
pub(in crate::experiment) struct Trapping {
    traps: Traps,
    /// The code that each planted trap replaces.
    own: Vec<Option<[u8; 2]>>,
    /// The code that the trap at the end of a step replaces.
    handler: Option<[u8; 2]>,
    /// The trap that is being stepped over.
    stepping: Option<usize>,
}

impl Trapping {
    pub(in crate::experiment) fn new(traps: Traps) -> Self {
        Self { own: vec![None; traps.all.len()], traps, ..Self::default() }
    }

    /// Plants all of them, at the guest's first doorbell: the kernel is loaded by then.
    pub(in crate::experiment) fn plant(&mut self, machine: &Machine<Console>) {
        for at in 0..self.own.len() {
            self.plant_one(machine, at);
        }
        if let (Some(handler), false) = (self.traps.handler, self.own.is_empty()) {
            self.handler = exchange(machine, handler, TRAP);
        }
    }

    /// The trap at this address.
    pub(in crate::experiment) fn find(&self, at: GuestVirt) -> Option<usize> {
        self.traps.all.iter().position(|trap| trap.at == at)
    }

    /// The faults that wait at this trap.
    pub(in crate::experiment) fn faults(&self, trap: usize) -> Vec<u32> {
        self.traps.all[trap].faults.clone()
    }

    /// The instruction of this trap is executed next, alone; then the trap is planted again.
    pub(in crate::experiment) fn step_over(&mut self, trap: usize) {
        self.stepping = Some(trap);
    }

    /// The trap that is being stepped over, if the guest has come to the end of a step.
    pub(in crate::experiment) fn end_of_step(&self, at: GuestVirt) -> Option<usize> {
        self.stepping.filter(|_| self.traps.handler == Some(at))
    }

    /// Plants the trap again that was stepped over, unless `rip` is still inside of it: a trap is two bytes,
    /// so after an instruction of one byte it would stand in the next one. Returns whether the step is over.
    pub(in crate::experiment) fn finish_step(
        &mut self,
        machine: &Machine<Console>,
        trap: usize,
        rip: u64,
    ) -> bool {
        let at = self.traps.all[trap].at.0;
        if (at..at + TRAP.len() as u64).contains(&rip) {
            return false;
        }
        self.stepping = None;
        self.plant_one(machine, trap);
        true
    }

    fn plant_one(&mut self, machine: &Machine<Console>, at: usize) {
        self.own[at] = exchange(machine, self.traps.all[at].at, TRAP);
    }

    /// Puts the code back that the trap replaced.
    pub(in crate::experiment) fn lift(&mut self, machine: &Machine<Console>, at: usize) {
        if let Some(own) = self.own[at].take() {
            exchange(machine, self.traps.all[at].at, own);
        }
    }
}

/// Replaces two bytes of code, and returns the old ones.
fn exchange(machine: &Machine<Console>, at: GuestVirt, code: [u8; 2]) -> Option<[u8; 2]> {
    let (memory, phys) = (machine.memory(), Trap::phys(at));
    let mut before = [0; 2];
    memory.read(phys, &mut before).ok()?;
    memory.write(phys, &code).ok()?;
    Some(before)
}
