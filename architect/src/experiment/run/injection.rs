//! What faults do to a guest: the one place where their effects are applied.

use introspect::matrix::guest::Guest;

use crate::error::Error;
use crate::experiment::incarnation::Incarnation;
use crate::experiment::run::driver::Run;
use crate::faults::deed::Act;
use crate::faults::target::Scene;
use crate::terms::IncarnationEnd;

impl Run<'_> {
    /// Applies the faults that are due at this tick.
    pub(super) fn inject(&mut self, guest: &mut Incarnation) -> Result<Option<IncarnationEnd>, Error> {
        for beat in self.watchers.beats.reached().keys() {
            self.watchers.injector.beat(*beat);
        }
        if !self.watchers.injector.wants(guest.tick) {
            return Ok(None);
        }
        self.act_on(guest, &self.watchers.injector.busy())
    }

    /// Applies these faults, one after the other, until one ends the incarnation.
    pub(super) fn act_on(
        &mut self,
        guest: &mut Incarnation,
        faults: &[u32],
    ) -> Result<Option<IncarnationEnd>, Error> {
        let mut tables = Guest::default();
        for (number, nth) in faults.iter().zip(0..) {
            let Some(observer) = &guest.observer else { break };
            let memory = guest.machine.memory();
            // The audit's view may be older, and a fault may have changed what the next one depends on.
            if (nth == 0 || self.changed_guest) && tables.refresh(memory, observer.info_at()).is_err() {
                break;
            }
            self.changed_guest = false;
            let (tick, scene) = (observer.now(memory), Scene { guest: &tables, memory });
            for deed in self.watchers.injector.act(*number, tick, &scene, observer.room()) {
                if let Some(record) = deed.record(tick) {
                    self.watchers.record(&record, |_| None);
                }
                if let Some(ending) = self.apply(guest, deed.act)? {
                    return Ok(Some(ending));
                }
            }
        }
        Ok(None)
    }

    fn apply(&mut self, guest: &mut Incarnation, act: Act) -> Result<Option<IncarnationEnd>, Error> {
        let machine = &mut guest.machine;
        match act {
            Act::Nothing => {}
            Act::Write(word, value) => {
                let bytes = value.to_le_bytes();
                self.changed_guest = true;
                // The word was read before, so the address is memory.
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
                if let Some(observer) = &mut guest.observer {
                    observer.command(machine.memory(), [command]);
                }
            }
            Act::Nmi => machine.nmi()?,
            Act::Pause(ticks) => {
                if let Some(expired) = machine.bus_mut().watchdog.advance(ticks) {
                    return self.expired(guest, expired);
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
