//! What the types of a scenario's keys cannot say: ranges, and what goes together.

use super::source::Source;
use super::{Clock, Scenario};
use crate::error::Error;
use crate::faults::language::Fault;

/// Longest start list that the kernel keeps, bytes.
const START_LIST: usize = 1024;
/// Longest name of a program, bytes.
const PROGRAM_NAME: usize = 16;

impl Scenario {
    /// What the types cannot say.
    pub(super) fn check(&self, source: &Source<'_>) -> Result<(), Error> {
        let wrong = |key: &str, what: String, remedy: &str| Err(source.wrong(key, what, remedy));
        let range = |key: &str, value: u64, from: u64, to: u64| {
            if (from..=to).contains(&value) {
                return Ok(());
            }
            wrong(key, format!("{value} is out of range"), &format!("give a number from {from} to {to}"))
        };
        range("vm.memory-mib", self.vm.memory_mib.into(), 3, 1024)?;
        range("vm.max-ticks", self.vm.max_ticks, 1, u32::MAX.into())?;
        range("vm.tick-entries", self.vm.tick_entries.into(), 1, 1_000_000)?;
        range("vm.vms", self.vm.vms.into(), 1, 256)?;
        range("load.people", self.load.people.into(), 0, 200)?;
        range("load.spawn-rate", self.load.spawn_rate.into(), 1, 100)?;
        range("load.message-pages", self.load.message_pages.into(), 1, abi::layout::LOAN_PAGES as u64)?;
        range("load.patience-ticks", self.load.patience_ticks, 0, u32::MAX.into())?;
        range("load.requests", self.load.requests, 1, u32::MAX.into())?;
        range("load.work-ticks", self.load.work_ticks, 0, u32::MAX.into())?;
        range("load.fronts", self.load.fronts.into(), 1, 16)?;
        range("load.buffers", self.load.buffers.into(), 1, 256)?;
        range("load.directories", self.load.directories.into(), 1, 16)?;
        range("load.violators", self.load.violators.into(), 0, 200)?;
        range("load.ramp-ticks", self.load.ramp_ticks, 0, u32::MAX.into())?;
        range("load.unsound-crashes", self.load.unsound_crashes, 1, u32::MAX.into())?;
        range("monitor.period-ticks", self.monitor.period_ticks, 1, u32::MAX.into())?;
        range("monitor.missed-before-restart", self.monitor.missed_before_restart, 1, 1_000_000)?;
        range("audit.roots-every", self.audit.roots_every, 0, u32::MAX.into())?;
        range("monitor.max-load", self.monitor.max_load.into(), 0, 256)?;
        range("watchdog.timeout-ticks", self.watchdog.timeout_ticks, 4, u32::MAX.into())?;
        for (at, program) in self.program.iter().enumerate() {
            let key = |key: &str| format!("program[{at}].{key}");
            let name = program.program.as_str();
            let words = [name, program.argument.as_str()];
            if name.is_empty()
                || words.iter().any(|word| {
                    word.len() > PROGRAM_NAME || !word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                })
            {
                let what = "a name must have 1 to 16 letters, digits or hyphens".to_owned();
                return wrong(&key("program"), what, "give the name of a program of the boot module");
            }
            range(&key("count"), program.count.into(), 0, 200)?;
            range(&key("priority"), program.priority.into(), 0, 7)?;
            if !program.ports.is_empty() && program.ports.len() != program.count as usize {
                let what = format!("{} ports for {} instances", program.ports.len(), program.count);
                return wrong(&key("ports"), what, "give one port for each instance");
            }
        }
        if self.start_list().len() > START_LIST {
            let what = "too many different programs for the kernel's start list".to_owned();
            return wrong("program", what, "start fewer, or give equal ones as one entry with a count");
        }
        for (at, keys) in self.fault.iter().enumerate() {
            if let Err(mistake) = Fault::of(keys) {
                return wrong(&format!("fault[{at}].{}", mistake.key), mistake.what, &mistake.remedy);
            }
        }
        if !self.fault.is_empty() && self.vm.clock == Clock::Apic {
            let what =
                "faults act at points that can be repeated, and by this clock there are none".to_owned();
            return wrong("vm.clock", what, "leave the clock at \"virtual\"");
        }
        self.check_sweep(source)
    }
}
