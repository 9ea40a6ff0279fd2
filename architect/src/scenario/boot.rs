//! The guest's command line, from the keys that have a boot parameter.

use std::fmt::Write as _;

use super::declare::Section;
use super::document::Scenario;
use super::sections::{Clock, Program};

impl Scenario {
    /// The kernel's command line.
    pub fn command_line(&self) -> String {
        let mut words = vec![format!("seed={}", self.seed)];
        if self.vm.clock == Clock::Apic {
            words.push("clock=apic".to_owned());
        }
        words.extend(boot_words(&self.vm));
        words.extend(boot_words(&self.fixes));
        words.extend(boot_words(&self.watchdog));
        words.extend(boot_words(&self.load));
        words.push(format!("start={}", self.start_list()));
        words.join(" ")
    }

    /// The programs to start, as the kernel reads them: `program:count:uid:priority:argument`, separated by commas.
    pub(super) fn start_list(&self) -> String {
        let mut list = String::new();
        for program in &self.program {
            let Program { program, count, uid, priority, ports, argument } = program;
            let mut entry = |count: u32, argument: &str| {
                let comma = if list.is_empty() { "" } else { "," };
                // Writing to a string does not fail.
                let _ = write!(list, "{comma}{program}:{count}:{uid}:{priority}:{argument}");
            };
            if ports.is_empty() {
                entry(*count, if argument.is_empty() { "0" } else { argument });
            }
            for port in ports {
                entry(1, &port.to_string());
            }
        }
        list
    }
}

fn boot_words<S: Section>(section: &S) -> impl Iterator<Item = String> {
    section.entries().filter_map(|(key, value)| key.boot_word(value))
}
