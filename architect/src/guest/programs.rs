//! The programs that a boot module has.

use abi::module::{Header, MODULE_PROGRAMS, Program};
use zerocopy::FromBytes;

/// Names of the programs in the image's own boot module, separated by commas.
const OWN: &str = env!("MATRIX_PROGRAMS");

/// The names in a boot module; in the image's own where `module` is `None`.
pub fn names(module: Option<&[u8]>) -> Vec<String> {
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

/// Labels of the kernel's own processes.
pub const KERNELS: [&str; 2] = ["oracle", "keys"];

/// Whether a process can have this label, with a boot module of these programs.
pub fn has_label(names: &[String], label: &str) -> bool {
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
