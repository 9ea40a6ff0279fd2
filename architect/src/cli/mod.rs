//! The command line: flags become validated values here, once; the rest of the program sees only those.

pub mod boot;
pub mod doctor;
pub mod run;
pub mod scenarios;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use devices::watchdog::Stages;

use crate::campaign::args::{CampaignArgs, HuntArgs, MinimiseArgs, ReplayArgs, StatsArgs};
use crate::inspect::args::InspectArgs;
use vmm::host::memory::{MAX_MIB, MIN_MIB};

/// The Architect: boots a kernel under KVM, watches it, breaks it, and tells what became of it.
#[derive(Debug, Parser)]
#[command(name = "architect", version, about, after_help = EXIT_STATUS, max_term_width = WIDTH)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Longest line of a help text, characters.
const WIDTH: usize = 110;

impl Cli {
    /// What a command line says; it begins with the program's name. Where it is wrong or asks for help the process ends,
    /// with a message.
    ///
    /// Setting up the list of all commands takes a fifth as long as making a VM. `boot`, whose time to the guest's first
    /// byte matters, is understood without it.
    pub fn of(line: &[OsString]) -> Self {
        Self::try_of(line).unwrap_or_else(|wrong| wrong.exit())
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

const EXIT_STATUS: &str = "\
Exit status: 0 what was expected happened, 1 it did not, 2 bad arguments, scenario or image, 3 this host cannot run \
it, 4 the VMM failed.";

const BOOT_EXIT_STATUS: &str = "\
Exit status: the guest's own, 0 to 127, if it gives one by port 0xf4; 0 if it resets itself; 124 on --timeout; 125 on \
a triple fault, or an instruction that KVM cannot carry out; 126 if the watchdog ended it; 128 plus the number of the \
signal that ended it. Without a guest: 2 bad arguments or image, 3 this host cannot run it, 4 the VMM failed.";

/// The commands. Only the arguments of the one that was given are set up: all of them take as long as a VM. What stands
/// here is in the list of the commands, and what stands above its arguments is in a command's own help: the same.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Tell what this host's KVM can do, and what to change
    Doctor(DoctorArgs),
    /// Boot any PVH ELF kernel: its serial port on standard output, its exit status as ours
    Boot(BootArgs),
    /// Run a scenario
    Run(RunArgs),
    /// Run a scenario many times, from seed to seed, and keep a row of each run in a database
    Campaign(CampaignArgs),
    /// Tell what became of a campaign's runs: rates with 95 % intervals, and what the factors of a sweep do
    Stats(StatsArgs),
    /// Look for seeds that reach certain beats
    Hunt(HuntArgs),
    /// Run a run again, and say whether it is the same
    Replay(ReplayArgs),
    /// Find the fewest faults, the least load and the shortest time with which a run ends as it did
    Minimise(MinimiseArgs),
    /// Look into a dump of a guest: processes, address spaces, who maps what, and what should not be
    Inspect(InspectArgs),
    /// List the scenarios that are shipped inside the command
    Scenarios(ScenariosArgs),
    /// Measure what this program costs, beside the least that this host allows
    Bench(BenchArgs),
}

/// Tell what this host's KVM can do, and what to change
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// One JSON document on standard output, and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Measure what this program costs, beside the least that this host allows
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Measure only what has this in its name, as in reset or audit
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// One JSON document on standard output, and nothing else
    #[arg(long)]
    pub json: bool,
}

/// List the scenarios that are shipped inside the command
#[derive(Debug, Args)]
pub struct ScenariosArgs {
    /// What to print; without it the list.
    #[command(subcommand)]
    pub subject: Option<ScenariosSubject>,
}

/// What `architect scenarios` prints.
#[derive(Debug, Subcommand)]
pub enum ScenariosSubject {
    /// Print the text of a shipped scenario, to start an own one from
    Show {
        /// The scenario's name
        name: String,
    },
    /// Print the reference of all keys, as Markdown
    Keys,
}

/// Boot any PVH ELF kernel: its serial port on standard output, its exit status as ours
#[derive(Debug, Parser)]
#[command(name = "architect-boot", bin_name = "architect boot", after_help = BOOT_EXIT_STATUS, max_term_width = WIDTH)]
pub struct BootArgs {
    /// The kernel: an ELF64 x86-64 file with a PVH note
    pub kernel: PathBuf,
    /// A file for the kernel, in memory behind it
    #[arg(long, value_name = "FILE")]
    pub module: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub cmdline: String,
    /// The guest's memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(i64::from(MIN_MIB)..=i64::from(MAX_MIB)))]
    pub mem: u32,
    /// What the watchdog does if the guest has armed it and does not pet it: none, reset, nmi, pause, poweroff or
    /// debug; two of them make two stages
    #[arg(long, value_name = "ACTION[,ACTION]", default_value = "reset")]
    pub watchdog: Stages,
    /// End the guest after this many seconds
    #[arg(long, value_name = "S", value_parser = seconds, allow_negative_numbers = true)]
    pub timeout: Option<Duration>,
    /// Where the serial port goes: `stdio` is standard output, and standard input as well; without the option it is
    /// standard output only
    #[arg(long, value_name = "stdio|FILE")]
    pub serial: Option<PathBuf>,
    /// Write the guest's memory and registers to this file when it ends, as an ELF core
    #[arg(long, value_name = "FILE")]
    pub core: Option<PathBuf>,
    /// Write what happened to this file when the guest ends
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Run a scenario
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The scenario: a TOML file, or the name of a shipped one
    pub scenario: PathBuf,
    /// The seed, instead of the scenario's own
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Another value for a key of the scenario, as in vm.memory-mib=24
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub sets: Vec<(String, String)>,
    /// So many guests at once, each by itself and from the same seed; --out then has a folder for each
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub vms: Option<u32>,
    /// Write the run's files into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write the guest's memory and registers into the folder as well, when an incarnation ends: core.elf, and core-2.elf
    /// if there was a second one
    #[arg(long, requires = "out")]
    pub core: bool,
    /// Save the guest as it is when it has booted, for --from
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub save_snapshot: Option<PathBuf>,
    /// Go on from a snapshot that was saved, of the same image and as much memory; seed, load and fixes may be others
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// One JSON document on standard output, and nothing else
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "give seconds, more than 0 and at most a thousand million, as in 10 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if !(seconds > 0.0 && seconds <= 1e9) {
        return Err(wrong());
    }
    Ok(Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?.max(Duration::from_nanos(1)))
}

pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write KEY=VALUE, as in vm.memory-mib=24".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use devices::watchdog::WatchdogAction;

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
        assert!(assignment("=1").is_err() && assignment("a").is_err());
        assert_eq!(assignment("a.b = 1"), Ok(("a.b".into(), "1".into())));
    }
}
