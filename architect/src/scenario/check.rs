//! What the types of a scenario's keys cannot say: ranges, and what goes together.

use super::declare::{Key, Section, Value};
use super::document::Scenario;
use super::fault::model::Fault;
use super::sections::{Clock, Program};
use super::source::Source;
use crate::error::Error;

/// Longest start list that the kernel keeps, bytes.
const START_LIST: usize = 1024;
/// Longest name of a program, bytes.
const PROGRAM_NAME: usize = 16;

impl Scenario {
    /// Checks all values.
    ///
    /// # Errors
    ///
    /// The first value that makes no sense, with its place.
    pub(super) fn check(&self, source: &Source<'_>) -> Result<(), Error> {
        check_ranges(source, "vm", self.vm.entries())?;
        check_ranges(source, "load", self.load.entries())?;
        check_ranges(source, "monitor", self.monitor.entries())?;
        check_ranges(source, "audit", self.audit.entries())?;
        check_ranges(source, "watchdog", self.watchdog.entries())?;
        for (at, program) in self.program.iter().enumerate() {
            check_program(source, &format!("program[{at}]"), program)?;
        }
        if self.start_list().len() > START_LIST {
            let what = "too many different programs for the kernel's start list".to_owned();
            let remedy = "start fewer, or write equal ones as one entry with a count";
            return Err(source.wrong("program", what, remedy));
        }
        for (at, keys) in self.fault.iter().enumerate() {
            if let Err(mistake) = Fault::of(keys) {
                let key = format!("fault[{at}].{}", mistake.key);
                return Err(source.wrong(&key, mistake.what, &mistake.remedy));
            }
        }
        if !self.fault.is_empty() && self.vm.clock == Clock::Apic {
            let what = "faults act at repeatable points, and the APIC's clock has none".to_owned();
            return Err(source.wrong("vm.clock", what, "leave the clock at \"virtual\""));
        }
        self.check_sweep(source)
    }
}

fn check_ranges<'v>(
    source: &Source<'_>,
    section: &str,
    entries: impl Iterator<Item = (&'static Key, &'v dyn Value)>,
) -> Result<(), Error> {
    for (key, value) in entries {
        if let Some((value, range)) = key.violated_range(value) {
            let what = format!("{value} is out of range");
            let remedy = format!("give a number from {} to {}", range.start(), range.end());
            return Err(source.wrong(&format!("{section}.{}", key.name()), what, &remedy));
        }
    }
    Ok(())
}

fn check_program(source: &Source<'_>, section: &str, program: &Program) -> Result<(), Error> {
    let is_name = |word: &str| {
        word.len() <= PROGRAM_NAME && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if program.program.is_empty() || !is_name(&program.program) || !is_name(&program.argument) {
        let what = match program.program.as_str() {
            "" => "the name of the program is missing",
            _ => "a name must have 1 to 16 letters, digits or hyphens",
        };
        let remedy = "give the name of a program of the boot module";
        return Err(source.wrong(&format!("{section}.program"), what.to_owned(), remedy));
    }
    check_ranges(source, section, program.entries())?;
    if !program.ports.is_empty() && program.ports.len() != program.count as usize {
        let what = format!("{} ports for {} instances", program.ports.len(), program.count);
        return Err(source.wrong(&format!("{section}.ports"), what, "give one port for each instance"));
    }
    Ok(())
}
