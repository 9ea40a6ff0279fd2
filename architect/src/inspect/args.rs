//! The command line of `architect inspect`.

use std::path::PathBuf;
use std::str::FromStr;

use abi::{GuestPhys, Pid};
use clap::{Args, Subcommand};
use introspect::matrix::policy::Preset;

/// Inspect a memory dump: processes, address spaces, mappings, wrong sharings
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// An ELF core, a raw dump of memory from address 0 on, or a run's folder (its core.elf)
    #[arg(value_name = "CORE|RAW|DIR")]
    pub source: PathBuf,
    /// The guest-physical address of the page tables to begin with, for dumps that do not tell
    #[arg(long, value_name = "ADDR", value_parser = number, global = true)]
    pub root: Option<u64>,
    /// Print one JSON document on standard output and nothing else
    #[arg(long, global = true)]
    pub json: bool,
    /// What to look at
    #[command(subcommand)]
    pub subject: Subject,
}

/// What to look at. Numbers are decimal, or hexadecimal with 0x.
#[derive(Debug, Subcommand)]
pub enum Subject {
    /// The processes, as the guest's process table has them
    Ps,
    /// The address spaces: those that the guest names, and those that are found in memory
    Roots,
    /// What is mapped in an address space
    Maps {
        /// A process (17.1, or 17 for whoever has slot 17 now), or a root's address (0x1fc000); else the kernel's own
        #[arg(value_name = "PID|ROOT")]
        who: Option<Who>,
    },
    /// Where a virtual address leads
    Translate {
        /// The address
        #[arg(value_name = "ADDR", value_parser = number)]
        at: u64,
        /// In whose address space: a process, or a root's address; else the kernel's own
        #[arg(long = "pid", value_name = "PID|ROOT")]
        who: Option<Who>,
    },
    /// What the guest's frame table says; of one frame also who maps it
    Frames {
        /// The number of a frame: its address without the last three hexadecimal digits
        #[arg(value_name = "FRAME", value_parser = number)]
        frame: Option<u64>,
    },
    /// Frames that ring 3 can use in more than one address space
    Shared,
    /// Mappings that should not be, by the guest's own tables
    Leaks {
        /// The rules: strict (ours) or page-table-check (Linux's)
        #[arg(long, value_name = "NAME", default_value = "strict")]
        policy: Preset,
    },
    /// Names for addresses: of the processors, the processes, and the kernel's image
    Symbols {
        /// Addresses or names to look up; else everything
        #[arg(value_name = "ADDR|NAME")]
        wanted: Vec<String>,
        /// The ELF file that the guest's kernel was loaded from; else that of the Matrix in this program
        #[arg(long, value_name = "FILE")]
        image: Option<PathBuf>,
    },
    /// Bytes of memory. An address in the upper half is the kernel's; any other is guest-physical, or with --pid one of
    /// that address space
    Read {
        /// The first address
        #[arg(value_name = "ADDR", value_parser = number)]
        at: u64,
        /// How many bytes
        #[arg(value_name = "LEN", value_parser = number)]
        len: u64,
        /// In whose address space: a process, or a root's address
        #[arg(long = "pid", value_name = "PID|ROOT")]
        who: Option<Who>,
    },
}

/// Whose address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A process.
    Pid(Pid),
    /// Whoever has this slot of the process table.
    Slot(usize),
    /// Whoever has this root.
    Root(GuestPhys),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a process as 17.1 or 17, or a root's address as 0x1fc000".to_owned();
        let slot = |text: &str| text.parse::<u16>().map(usize::from).map_err(|_| wrong());
        if text.starts_with("0x") {
            return number(text).map(|at| Self::Root(GuestPhys(at)));
        }
        match text.split_once('.') {
            Some((of, generation)) => {
                Ok(Self::Pid(Pid::new(slot(of)?, generation.parse().map_err(|_| wrong())?)))
            }
            None => slot(text).map(Self::Slot),
        }
    }
}

/// A number as people write addresses.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    number.map_err(|_| "write a number below 2^64, decimal or hexadecimal with 0x".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_slots_and_roots_are_told_apart() {
        assert_eq!("17.1".parse(), Ok(Who::Pid(Pid::new(17, 1))));
        assert_eq!("17".parse(), Ok(Who::Slot(17)));
        assert_eq!("0x1fc000".parse(), Ok(Who::Root(GuestPhys(0x1f_c000))));
        for wrong in ["", "x", "17.", ".1", "17.1.2", "70000", "-1", "0x", "0xg"] {
            assert!(wrong.parse::<Who>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(number("0xffff_8000_0000_0000"), Ok(0xffff_8000_0000_0000));
        assert_eq!(number("4096"), Ok(4096));
        for wrong in ["", "0x", "-1", "1e3", "0x10000000000000000"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
