//! The guest comes to a trap in its code: faults act, and the trap is stepped over ([`crate::faults::code`]
//! says how).

use abi::layout::PORT_TRAP;
use abi::trace::Kind;
use abi::{GuestVirt, Pid};
use introspect::x86::memory::PhysicalMemory;

use crate::error::Error;
use crate::experiment::incarnation::Incarnation;
use crate::experiment::run::driver::Run;
use crate::faults::code::{TRAP, TRAP_FLAG};
use crate::terms::IncarnationEnd;

impl Run<'_> {
    /// The guest has come to a trap.
    pub(super) fn trapped(&mut self, guest: &mut Incarnation) -> Result<Option<IncarnationEnd>, Error> {
        let mut registers = guest.machine.registers()?.general;
        let at = GuestVirt(registers.rip.wrapping_sub(TRAP.len() as u64));
        if let Some(trap) = guest.trapping.find(at) {
            guest.trapping.lift(&guest.machine, trap);
            registers.rip = at.0;
            guest.machine.vcpu().set_regs(&registers)?;
            let faults = guest.trapping.faults(trap);
            let ending = self.come_to(guest, &faults)?;
            if ending.is_none() && self.watchers.injector.waits(&faults) {
                guest.trapping.step_over(trap);
                let mut registers = guest.machine.registers()?.general;
                registers.rflags |= TRAP_FLAG;
                guest.machine.vcpu().set_regs(&registers)?;
            }
            return Ok(ending);
        }
        if let Some(trap) = guest.trapping.end_of_step(at) {
            // What the processor pushed: RIP, CS, RFLAGS, RSP, SS (Intel SDM vol. 3, 6.14.2).
            let mut frame = [0_u64; 5];
            for (word, nth) in frame.iter_mut().zip(0..) {
                let phys = guest.machine.translate(GuestVirt(registers.rsp.wrapping_add(nth * 8)));
                *word = phys.and_then(|phys| guest.machine.memory().read_u64(phys).ok()).unwrap_or(0);
            }
            [registers.rip, _, registers.rflags, registers.rsp, _] = frame;
            if guest.trapping.finish_step(&guest.machine, trap, registers.rip) {
                registers.rflags &= !TRAP_FLAG;
            }
            guest.machine.vcpu().set_regs(&registers)?;
            return Ok(None);
        }
        // No trap of ours: the guest itself wrote to the port.
        self.watchers.note(Kind::Stray, guest.tick, Pid::NONE, [1, PORT_TRAP.into(), 0]);
        Ok(None)
    }

    /// The guest is about to carry out an instruction that these faults wait for.
    fn come_to(&mut self, guest: &mut Incarnation, faults: &[u32]) -> Result<Option<IncarnationEnd>, Error> {
        let due = self.watchers.injector.reached(faults);
        if due.is_empty() {
            return Ok(None);
        }
        // Records of what the guest did before come before those of the fault.
        self.watchers.drain(guest);
        self.act_on(guest, &due)
    }
}
