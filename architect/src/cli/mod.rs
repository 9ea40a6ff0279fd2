//! The command line: what each command takes, and what it does with it.
//!
//! One file per command holds its arguments and its steps; the work is done by the folders below. [`values`] has what
//! several commands parse alike.

pub mod boot;
pub mod campaign;
pub mod doctor;
pub mod hunt;
pub mod minimise;
mod progress;
pub mod replay;
pub mod run;
pub mod scenarios;
pub mod stats;
mod values;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::bench::{self, BenchArgs};
use crate::error::Error;
use crate::inspect;
use crate::inspect::args::InspectArgs;
use boot::BootArgs;
use campaign::CampaignArgs;
use doctor::DoctorArgs;
use hunt::HuntArgs;
use minimise::MinimiseArgs;
use replay::ReplayArgs;
use run::RunArgs;
use scenarios::ScenariosArgs;
use stats::StatsArgs;

/// Boots kernels under KVM, watches them from outside, breaks them on purpose, and explains what happened.
#[derive(Debug, Parser)]
#[command(name = "architect", version, about, after_help = AFTER_HELP, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  architect doctor                                   can this host run guests?
  architect run demo-leak --out out/demo             one run, its files in out/demo
  architect inspect out/demo leaks                   wrong sharings in its memory dump (run with --core)
  architect campaign demo-leak --runs 100 --db x.db  a hundred seeds
  architect stats x.db                               their rates

Exit status: 0 as expected, 1 not as expected, 2 bad arguments, scenario or image, 3 this host cannot run guests, \
4 the VMM failed, 128 plus its number after a signal.";

impl Cli {
    /// Parses a command line that begins with the program's name. On a mistake or a request for help the process ends
    /// with a message.
    ///
    /// Building the parsers of all commands takes a fifth as long as making a VM, so `boot`, whose time to the guest's
    /// first byte matters, is parsed without the others.
    pub fn of(line: &[OsString]) -> Self {
        Self::try_of(line).unwrap_or_else(|mistake| mistake.exit())
    }

    fn try_of(line: &[OsString]) -> Result<Self, clap::Error> {
        match line {
            [_, command, ..] if command == "boot" => {
                Ok(Self { command: Command::Boot(BootArgs::try_parse_from(&line[1..])?) })
            }
            _ => Self::try_parse_from(line),
        }
    }
}

/// The commands. `defer`: only the parser of the command that was given is built.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Show what this host's KVM can do, and what to change
    Doctor(DoctorArgs),
    /// Boot any PVH ELF kernel: serial console on standard output, its exit status
    Boot(BootArgs),
    /// Run a scenario
    Run(RunArgs),
    /// Run a scenario many times and store one row per run in a database
    Campaign(CampaignArgs),
    /// Summarise a campaign: rates with 95 % intervals, and the effects of a sweep
    Stats(StatsArgs),
    /// Search for seeds that reach given beats
    Hunt(HuntArgs),
    /// Repeat a recorded run and compare it with the record
    Replay(ReplayArgs),
    /// Reduce a run to the fewest faults, least load and shortest time with the same outcome
    Minimise(MinimiseArgs),
    /// Inspect a memory dump: processes, address spaces, mappings, wrong sharings
    Inspect(InspectArgs),
    /// List the scenarios inside the command, print one, or print all keys
    Scenarios(ScenariosArgs),
    /// Measure the cost of starts, exits, resets, forks and audits beside their floors
    Bench(BenchArgs),
}

impl Command {
    /// Carries the command out; returns the exit status.
    ///
    /// # Errors
    ///
    /// Whatever ended it; [`Error::exit_status`] has the status for that.
    pub fn execute(&self) -> Result<u8, Error> {
        match self {
            Self::Doctor(args) => doctor::doctor(args),
            Self::Boot(args) => boot::boot(args),
            Self::Run(args) => run::run(args),
            Self::Campaign(args) => campaign::campaign(args),
            Self::Stats(args) => stats::stats(args),
            Self::Hunt(args) => hunt::hunt(args),
            Self::Replay(args) => replay::replay(args),
            Self::Minimise(args) => minimise::minimise(args),
            Self::Inspect(args) => inspect::inspect(args),
            Self::Scenarios(args) => scenarios::scenarios(args),
            Self::Bench(args) => bench::bench(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use devices::watchdog::{Stages, WatchdogAction};
    use std::time::Duration;

    fn boot(arguments: &[&str]) -> Result<BootArgs, clap::Error> {
        let line = ["architect", "boot", "kernel"].iter().chain(arguments);
        match Cli::try_parse_from(line)?.command {
            Command::Boot(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_says_the_same_of_itself_in_the_list_and_alone() {
        let mut alone = Cli::command();
        alone.build();
        for (listed, built) in Cli::command().get_subcommands().zip(alone.get_subcommands()) {
            let about = |command: &clap::Command| command.get_about().map(ToString::to_string);
            assert!(about(listed).is_some() && about(listed) == about(built), "{}", listed.get_name());
            assert!(built.get_long_about().is_none(), "{}", listed.get_name());
        }
    }

    #[test]
    fn a_command_line_of_boot_means_the_same_without_the_other_commands() {
        for line in [
            &["kernel"][..],
            &["kernel", "--mem", "64", "--watchdog=nmi,reset", "--timeout", "0.5"],
            &["--cmdline", "a b", "--", "kernel"],
            &[],
            &["kernel", "another"],
            &["kernel", "--mem", "0"],
            &["kernel", "--tiemout", "1"],
            &["kernel", "--version"],
            &["--help"],
            &["-h"],
        ] {
            let line: Vec<OsString> = ["architect", "boot"].iter().chain(line).map(Into::into).collect();
            let told = |outcome: Result<Cli, clap::Error>| match outcome {
                Ok(cli) => format!("{cli:?}"),
                Err(wrong) => format!("{} {}", wrong.exit_code(), wrong.render()),
            };
            assert_eq!(told(Cli::try_of(&line)), told(Cli::try_parse_from(&line)));
        }
    }

    #[test]
    fn flags_become_values() {
        let args = boot(&["--watchdog", "nmi,reset", "--timeout", "0.25", "--mem", "2"]).unwrap();
        assert_eq!(args.watchdog, Stages::two(WatchdogAction::Nmi, WatchdogAction::Reset));
        assert_eq!((args.timeout, args.mem), (Some(Duration::from_millis(250)), 2));
        assert_eq!(boot(&[]).unwrap().watchdog, Stages::one(WatchdogAction::Reset));
    }

    #[test]
    fn a_run_has_its_own_number_of_guests_or_the_scenarios() {
        let vms = |arguments: &[&str]| {
            let line = ["architect", "run", "x.toml"].iter().chain(arguments);
            match Cli::try_parse_from(line).unwrap().command {
                Command::Run(args) => args.vms,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((vms(&[]), vms(&["--vms", "4"])), (None, Some(4)));
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            ["--mem", "0"],
            ["--mem", "1"],
            ["--mem", "99999999"],
            ["--mem", "-1"],
            ["--timeout", "0"],
            ["--timeout", "-1"],
            ["--timeout", "NaN"],
            ["--timeout", "1e300"],
            ["--watchdog", "explode"],
            ["--watchdog", "nmi,reset,nmi"],
            ["--nonsense", "1"],
        ] {
            assert_eq!(boot(&wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }
}
