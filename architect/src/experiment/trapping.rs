//! Traps in the guest's code while it runs: planted, met, stepped over ([`crate::faults::code`] says how and why).

use abi::GuestVirt;
use abi::trace::Kind;
use abi::{Pid, layout::PORT_TRAP};
use introspect::memory::PhysicalMemory;

use super::Run;
use super::console::Console;
use super::life::Life;
use crate::error::Error;
use crate::faults::code::{TRAP, TRAP_FLAG, Trap, Traps};
use crate::terms::IncarnationEnd;
use vmm::machine::Machine;

/// The traps of a life.
#[derive(Default)]
pub(super) struct Trapping {
    traps: Traps,
    /// What stands in memory in place of each, if it is planted.
    own: Vec<Option<[u8; 2]>>,
    /// What stood where a step ends.
    handler: Option<[u8; 2]>,
    /// The trap whose instruction is being carried out.
    stepping: Option<usize>,
}

impl Trapping {
    pub(super) fn new(traps: Traps) -> Self {
        Self { own: vec![None; traps.all.len()], traps, ..Self::default() }
    }

    /// Plants all of them. The kernel is there, and stands at its first doorbell.
    pub(super) fn plant(&mut self, machine: &Machine<Console>) {
        for at in 0..self.own.len() {
            self.plant_one(machine, at);
        }
        if let (Some(handler), false) = (self.traps.handler, self.own.is_empty()) {
            self.handler = exchange(machine, handler, TRAP);
        }
    }

    fn plant_one(&mut self, machine: &Machine<Console>, at: usize) {
        self.own[at] = exchange(machine, self.traps.all[at].at, TRAP);
    }

    fn lift(&mut self, machine: &Machine<Console>, at: usize) {
        if let Some(own) = self.own[at].take() {
            exchange(machine, self.traps.all[at].at, own);
        }
    }
}

/// Puts two bytes of code in place of others, and gives these.
fn exchange(machine: &Machine<Console>, at: GuestVirt, code: [u8; 2]) -> Option<[u8; 2]> {
    let (memory, phys) = (machine.memory(), Trap::phys(at));
    let mut before = [0; 2];
    memory.read(phys, &mut before).ok()?;
    memory.write(phys, &code).ok()?;
    Some(before)
}

impl Run<'_> {
    /// The guest has come to a trap.
    pub(super) fn trapped(&mut self, life: &mut Life) -> Result<Option<IncarnationEnd>, Error> {
        let mut registers = life.machine.registers()?.general;
        let at = GuestVirt(registers.rip.wrapping_sub(TRAP.len() as u64));
        if let Some(place) = life.trapping.traps.all.iter().position(|trap| trap.at == at) {
            life.trapping.lift(&life.machine, place);
            registers.rip = at.0;
            life.machine.vcpu().set_regs(&registers)?;
            let faults = life.trapping.traps.all[place].faults.clone();
            let ending = self.come_to(life, &faults)?;
            if ending.is_none() && self.injector.waits(&faults) {
                life.trapping.stepping = Some(place);
                let mut registers = life.machine.registers()?.general;
                registers.rflags |= TRAP_FLAG;
                life.machine.vcpu().set_regs(&registers)?;
            }
            return Ok(ending);
        }
        if life.trapping.traps.handler == Some(at)
            && let Some(place) = life.trapping.stepping
        {
            // What the processor pushed: RIP, CS, RFLAGS, RSP, SS (Intel SDM vol. 3, 6.14.2).
            let mut frame = [0_u64; 5];
            for (word, nth) in frame.iter_mut().zip(0..) {
                let phys = life.machine.translate(GuestVirt(registers.rsp.wrapping_add(nth * 8)));
                *word = phys.and_then(|phys| life.machine.memory().read_u64(phys).ok()).unwrap_or(0);
            }
            [registers.rip, _, registers.rflags, registers.rsp, _] = frame;
            // A trap is two bytes: after an instruction of one, it would stand in the next one.
            let trap = life.trapping.traps.all[place].at.0;
            if !(trap..trap + TRAP.len() as u64).contains(&registers.rip) {
                registers.rflags &= !TRAP_FLAG;
                life.trapping.stepping = None;
                life.trapping.plant_one(&life.machine, place);
            }
            life.machine.vcpu().set_regs(&registers)?;
            return Ok(None);
        }
        // Somebody else wrote to the port.
        self.note(Kind::Stray, life.tick, Pid::NONE, [1, PORT_TRAP.into(), 0]);
        Ok(None)
    }

    /// The guest is about to carry out an instruction that these faults wait for.
    fn come_to(&mut self, life: &mut Life, faults: &[u32]) -> Result<Option<IncarnationEnd>, Error> {
        let due = self.injector.reached(faults);
        if due.is_empty() {
            return Ok(None);
        }
        // What the guest did before comes before.
        self.take_trace(life);
        self.act_those(life, &due)
    }
}
