//! The programs that a boot module has: a scenario that names another is refused, since the guest would only say so on
//! its console.

use abi::module::{Header, MODULE_PROGRAMS, Program};
use zerocopy::FromBytes;

use crate::error::Error;
use crate::faults::code::Traps;
use crate::guest::image::MATRIX;
use crate::scenario::{Scenario, wrong_in};

/// Names of the programs in the image's own boot module, separated by commas.
const OWN: &str = env!("MATRIX_PROGRAMS");

/// The names in a boot module; in the image's own where `module` is `None`.
fn names(module: Option<&[u8]>) -> Vec<String> {
    let Some((header, rest)) = module.and_then(|bytes| Header::read_from_prefix(bytes).ok()) else {
        return OWN.split(',').map(str::to_owned).collect();
    };
    let entries = rest.chunks_exact(size_of::<Program>()).take(MODULE_PROGRAMS.min(header.count as usize));
    let programs = entries.filter_map(|entry| Program::read_from_bytes(entry).ok());
    programs.map(|program| name(&program)).collect()
}

fn name(program: &Program) -> String {
    let name = program.name.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Refuses a scenario that starts a program, or gives one as an argument, that the module does not have.
pub fn check(scenario: &Scenario, module: Option<&[u8]>, place: &str) -> Result<(), Error> {
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

/// Refuses a scenario whose faults wait for code that the kernel does not have, whichever they may draw.
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

/// Labels of the kernel's own processes.
const KERNELS: [&str; 2] = ["oracle", "keys"];

fn has_label(names: &[String], label: &str) -> bool {
    names.iter().any(|name| name == label) || KERNELS.contains(&label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn names_come_from_the_module_that_is_given_and_a_damaged_one_has_fewer() {
        assert!(names(None).iter().any(|name| name == "nursery"));
        let mut program = Program::default();
        program.name[..3].copy_from_slice(b"one");
        let header = Header { count: 9, ..Header::default() };
        let mut module = [header.as_bytes(), program.as_bytes()].concat();
        assert_eq!(names(Some(&module)), ["one"]);
        module.pop();
        assert!(names(Some(&module)).is_empty());
    }
}
