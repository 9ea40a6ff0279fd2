//! Before a run: checks the scenario against its guest, and builds the machine's configuration.

use devices::watchdog::Timeout;
use vmm::machine::MachineConfig;
use vmm::machine::loader::{Blob, Image};

use crate::error::Error;
use crate::faults::code::Traps;
use crate::guest::image::MATRIX;
use crate::guest::programs::{KERNELS, has_label, names};
use crate::scenario::{Scenario, wrong_in};

/// The configuration of a machine for this scenario: the Matrix, with this boot module in place of its own.
///
/// # Errors
///
/// The image, module and command line do not fit into the scenario's memory.
pub fn machine_config(scenario: &Scenario, module: Option<Blob>) -> Result<MachineConfig, Error> {
    let image = Image::check(Blob { name: "the Matrix".into(), bytes: MATRIX.into() })?;
    let cmdline = scenario.command_line();
    image.fits(scenario.vm.memory_mib, &cmdline, module.as_ref())?;
    Ok(MachineConfig {
        memory_mib: scenario.vm.memory_mib,
        image,
        cmdline,
        module,
        timeout: Timeout::Ticks(scenario.watchdog.timeout_ticks),
        stages: scenario.stages(),
    })
}

/// Checks that the boot module has every program that the scenario names.
///
/// # Errors
///
/// It lacks one; the guest would report that only on its console.
pub fn check_programs(scenario: &Scenario, module: Option<&[u8]>, place: &str) -> Result<(), Error> {
    let names = names(module);
    for (at, entry) in scenario.program.iter().enumerate() {
        let argument = entry.argument.as_str();
        let words = [("program", entry.program.as_str()), ("argument", argument)];
        let is_name = |word: &str| !word.is_empty() && word.parse::<u64>().is_err();
        if let Some((key, word)) =
            words.iter().find(|(_, word)| is_name(word) && !names.iter().any(|n| n == word))
        {
            let what = format!("the boot module has no program `{word}`");
            let key = format!("program[{at}].{key}");
            return Err(wrong_in(place, &key, what, &format!("it has {}", names.join(", "))));
        }
    }
    for (at, fault) in scenario.fault.iter().enumerate() {
        let (key, unknown) = match fault.labels().find(|(_, label)| !has_label(&names, label)) {
            Some((key, label)) => (key, label),
            None => continue,
        };
        let what = format!("no process is ever called `{unknown}`");
        let programs = names.join(", ");
        let remedy = format!(
            "give a program of the boot module ({programs}) or of the kernel's ({})",
            KERNELS.join(", ")
        );
        return Err(wrong_in(place, &format!("fault[{at}].{key}"), what, &remedy));
    }
    Ok(())
}

/// Checks that the kernel has the code at which faults act, whichever they may draw.
///
/// # Errors
///
/// A fault names code that the kernel does not have.
pub fn check_code(scenario: &Scenario, place: &str) -> Result<(), Error> {
    for (at, keys) in scenario.fault.iter().enumerate() {
        for fault in keys.codes() {
            if let Err((_, mistake)) = Traps::of(&[fault], MATRIX) {
                let key = format!("fault[{at}].{}", mistake.key);
                return Err(wrong_in(place, &key, mistake.what, &mistake.remedy));
            }
        }
    }
    let all = scenario.resolve(0).faults();
    Traps::of(&all, MATRIX)
        .map(drop)
        .map_err(|(_, mistake)| wrong_in(place, "fault", mistake.what, &mistake.remedy))
}
