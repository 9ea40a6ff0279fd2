//! What faults do to a guest: the one place where their deeds are applied.

use abi::process::Descriptor;
use abi::{Frame, GuestPhys, Pid};
use introspect::memory::PhysicalMemory;
use introspect::space::Guest;

use super::life::Life;
use super::{Compare, Run};
use crate::error::Error;
use crate::faults::deed::Act;
use crate::faults::residue;
use crate::faults::target::Scene;
use crate::terms::IncarnationEnd;
use vmm::host::memory::GuestMemory;

impl Run<'_> {
    /// Notes what nobody can reach where faults can act, if others ask for it; `seen` says that an audit was just made.
    pub(super) fn watch(&mut self, life: &mut Life, seen: bool) -> Result<(), Error> {
        let Some(unread) = &mut self.unread else { return Ok(()) };
        let seen = match &life.observer {
            Some(observer) if seen && observer.is_complete() => {
                let root = GuestPhys(life.machine.registers()?.system.cr3);
                Some((observer.guest(), observer.map(), root))
            }
            _ => None,
        };
        unread.doorbell(life.tick, seen);
        Ok(())
    }

    /// Has those faults act whose moment has come.
    pub(super) fn inject(&mut self, life: &mut Life) -> Result<Option<IncarnationEnd>, Error> {
        for beat in self.beats.reached().keys() {
            self.injector.beat(*beat);
        }
        if !self.injector.wants(life.tick) {
            return Ok(None);
        }
        self.act_those(life, &self.injector.busy())
    }

    /// Has these faults act, one after the other, until one ends the life.
    pub(super) fn act_those(
        &mut self,
        life: &mut Life,
        faults: &[u32],
    ) -> Result<Option<IncarnationEnd>, Error> {
        let mut guest = Guest::default();
        for (number, nth) in faults.iter().zip(0..) {
            let Some(observer) = &life.observer else { break };
            let memory = life.machine.memory();
            // The audit's view may be older, and a fault may have changed what the next one goes by.
            if (nth == 0 || self.changed_guest) && guest.refresh(memory, observer.info_at()).is_err() {
                break;
            }
            self.changed_guest = false;
            let (tick, scene) = (observer.now(memory), Scene { guest: &guest, memory });
            for deed in self.injector.act(*number, tick, &scene, observer.room()) {
                if let Some(record) = deed.record(tick) {
                    self.note_record(record);
                }
                if let Some(ending) = self.apply(life, deed.act)? {
                    return Ok(Some(ending));
                }
            }
        }
        Ok(None)
    }

    /// A life has ended: what it leaves behind. Of the console the first life counts, in which faults act.
    pub(super) fn leave(&mut self, life: &mut Life) {
        let Some(account) = &self.account else { return };
        if self.incarnation == 1 {
            self.left.console = life.machine.bus().serial.output().hash();
        }
        let Some(observer) = &life.observer else { return };
        let memory = life.machine.memory();
        let Ok(guest) = Guest::read(memory, observer.info_at()) else { return };
        self.left.standing = self.injector.standing(&Scene { guest: &guest, memory });
        // It is much work, and says something only of runs that have told the same story.
        let wanted = match self.lab.compare {
            Compare::With(golden) => golden.story == account.story(),
            _ => true,
        };
        self.left.memory = wanted.then(|| residue::hash(&guest, memory));
    }

    fn apply(&mut self, life: &mut Life, act: Act) -> Result<Option<IncarnationEnd>, Error> {
        let machine = &mut life.machine;
        match act {
            Act::Nothing => {}
            Act::Write(word, value) => {
                let bytes = value.to_le_bytes();
                self.changed_guest = true;
                // The word was read, so it is there.
                let _ = machine.memory().write(word.at, bytes.get(..word.bytes.into()).unwrap_or_default());
                if word.table {
                    machine.flush_translations()?;
                }
            }
            Act::Invert(register, bits) => {
                let mut registers = machine.registers()?.general;
                *register.of(&mut registers) ^= bits;
                machine.vcpu().set_regs(&registers)?;
            }
            Act::Command(command) => {
                if let Some(observer) = &mut life.observer {
                    observer.command(machine.memory(), [command]);
                }
            }
            Act::Nmi => machine.nmi()?,
            Act::Pause(ticks) => {
                if let Some(expired) = machine.bus_mut().watchdog.advance(ticks) {
                    return self.expired(life, expired);
                }
            }
            Act::LosePets(pets) => machine.bus_mut().watchdog.lose_pets(pets),
            Act::Serial(noise) => {
                let serial = &mut machine.bus_mut().serial;
                serial.flush();
                serial.output_mut().damage(noise);
            }
        }
        Ok(None)
    }
}

/// The descriptor of a process, as the process table has it now.
pub(super) fn descriptor(memory: &GuestMemory, table: GuestPhys, pid: Pid) -> Option<Descriptor> {
    let slot = table.add(pid.slot() as u64 * size_of::<u32>() as u64);
    let frame = Frame(memory.read_value::<u32>(slot).ok()?.into());
    let descriptor = memory.read_value::<Descriptor>(frame.base()).ok()?;
    (frame.0 != 0 && descriptor.pid == pid).then_some(descriptor)
}
