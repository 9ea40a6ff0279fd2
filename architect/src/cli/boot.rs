//! `architect boot`: one guest from its first instruction to its end, as a command.
//!
//! Everything that can be wrong with the arguments is found before the guest starts. Then there is one loop:
//! run the guest to the next event, and decide. The end gives the exit status, and whatever was asked for is
//! written.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use clap::Parser;
use devices::watchdog::{Stages, Timeout, WatchdogAction};
use serde_json::json;

use crate::error::{Error, Report, VmmError};
use crate::files::output::{AtomicFile, Console};
use crate::trace::places::Places;
use vmm::host::kvm::Kvm;
use vmm::host::memory::{MAX_MIB, MIN_MIB};
use vmm::machine::Crash;
use vmm::machine::core_file;
use vmm::machine::loader::{Blob, Image, ImageSource};
use vmm::machine::{Event, Machine, MachineConfig, Model};
use vmm::wall::{Signal, Wall, WallConfig, WallEvent};

const AFTER_HELP: &str = "\
Example:
  architect boot matrix.elf --watchdog nmi,reset --timeout 10 --core crash.elf

Exit status: the guest's own, 0 to 127, if it writes one to port 0xf4; 0 if it resets itself; 124 on --timeout; 125 on \
a triple fault or an instruction that KVM cannot execute; 126 if the watchdog ended it; 128 plus the number of the \
signal that ended it. Without a guest: 2 bad arguments or image, 3 this host cannot run guests, 4 the VMM failed.";

/// Boot any PVH ELF kernel: serial console on standard output, its exit status
#[derive(Debug, Parser)]
#[command(name = "architect-boot", bin_name = "architect boot", after_help = AFTER_HELP, max_term_width = 110)]
pub struct BootArgs {
    /// The kernel: an ELF64 x86-64 file with a PVH note
    pub kernel: PathBuf,
    /// A boot module: a file that is loaded behind the kernel
    #[arg(long, value_name = "FILE")]
    pub module: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub cmdline: String,
    /// The guest's memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(i64::from(MIN_MIB)..=i64::from(MAX_MIB)))]
    pub mem: u32,
    /// What the watchdog does when the guest has armed it and stops petting it: none, reset, nmi, pause,
    /// poweroff or debug; two of them make two stages
    #[arg(long, value_name = "ACTION[,ACTION]", default_value = "reset")]
    pub watchdog: Stages,
    /// End the guest after this many seconds
    #[arg(long, value_name = "S", value_parser = seconds, allow_negative_numbers = true)]
    pub timeout: Option<Duration>,
    /// Where the serial port goes: a file, or `stdio` for standard input and output [default: standard
    /// output]
    #[arg(long, value_name = "stdio|FILE")]
    pub serial: Option<PathBuf>,
    /// Write the guest's memory and registers to this file when it ends, as an ELF core
    #[arg(long, value_name = "FILE")]
    pub core: Option<PathBuf>,
    /// Write a JSON document about the run to this file when the guest ends
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "give seconds, more than 0 and at most 1e9, as in 10 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if !(seconds > 0.0 && seconds <= 1e9) {
        return Err(wrong());
    }
    Ok(Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?.max(Duration::from_nanos(1)))
}

/// Input that waits in the serial port before more is read.
const INPUT_WAITING: usize = 64 << 10;

/// How long a guest may run before the wall's thread is started.
const UNWATCHED: Duration = Duration::from_millis(5);

/// How the guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Exit(u8),
    Reset,
    Timeout,
    TripleFault,
    Crash(Crash),
    Watchdog(WatchdogAction),
    Interrupted(Signal),
}

impl End {
    fn status(&self) -> u8 {
        match self {
            Self::Exit(code) => *code,
            Self::Reset => 0,
            Self::Timeout => 124,
            Self::TripleFault | Self::Crash(_) => 125,
            Self::Watchdog(_) => 126,
            Self::Interrupted(signal) => signal.exit_status(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Exit(_) => "exit",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::TripleFault => "triple-fault",
            Self::Crash(_) => "crash",
            Self::Watchdog(_) => "watchdog",
            Self::Interrupted(_) => "signal",
        }
    }

    /// A remark for the user; none where the exit status says everything.
    fn remark(&self, places: &Places<'_>) -> Option<String> {
        Some(match self {
            Self::Exit(_) => return None,
            Self::Reset => "the guest has reset itself".into(),
            Self::Timeout => "the guest was ended by --timeout".into(),
            Self::TripleFault => "the guest has ended in a triple fault".into(),
            Self::Crash(Crash { error, rip }) => format!(
                "the guest executed an instruction that KVM cannot emulate on this host (suberror {}), at {rip:#x}{}, instruction {}",
                error.suberror,
                places.at(*rip).map(|place| format!(", {place}")).unwrap_or_default(),
                error.bytes
            ),
            Self::Watchdog(action) => format!("the watchdog has ended the guest ({action})"),
            Self::Interrupted(signal) => format!("ended by {signal}"),
        })
    }
}

/// What is to be written when the guest has ended.
struct Outputs {
    core: Option<AtomicFile>,
    /// With the time since which it is counted there.
    json: Option<(AtomicFile, Instant)>,
}

/// Boots a guest; returns the exit status.
pub fn boot(args: &BootArgs) -> Result<u8, Error> {
    // Only where it is reported: the first call maps the code of the clock.
    let begin = args.json.is_some().then(Instant::now);
    let image = Image::read(&ImageSource::File(args.kernel.clone()))?;
    let module = args.module.clone().map(|path| Blob::read(&ImageSource::File(path))).transpose()?;
    image.fits(args.mem, &args.cmdline, module.as_ref())?;
    let outputs = open_outputs(args, begin)?;
    let stdio = args.serial.as_ref().is_some_and(|path| path.as_os_str() == "stdio");
    let console = match &args.serial {
        Some(path) if !stdio => Console::file("--serial", path)?,
        _ => Console::stdout()?,
    };
    let kvm = Kvm::open()?;
    let model = Model::of(&kvm)?;
    let config = MachineConfig {
        memory_mib: args.mem,
        image,
        cmdline: args.cmdline.clone(),
        module,
        timeout: Timeout::Wall,
        stages: args.watchdog,
    };
    let mut machine = Machine::new(&kvm, &model, &config, console)?;
    // The thread that watches real time is created last: a process without threads creates its VM faster.
    // Where there is nothing to watch yet and nothing to write at the end, the guest gets a head start.
    let watched = args.timeout.is_some() || stdio || args.core.is_some() || args.json.is_some();
    let first = if watched { None } else { machine.step_within(UNWATCHED)? };
    let (wall, events) =
        Wall::spawn(WallConfig { timeout: args.timeout, stdin: stdio, signals: true, ..Default::default() })?;
    machine.bus_mut().serial.output_mut().set_patience(wall.patience());
    machine.attach(wall.kick());

    let mut boot = Boot { machine, first, wall: &wall, events, paused: false, held_input: false };
    let end = boot.run()?;
    wall.finish_output();
    let flushed = boot.machine.flush_console();
    let mut machine = boot.machine;
    drop(wall);

    let places = Places::of(config.image.bytes(), 0);
    if let Some(remark) = end.remark(&places) {
        eprintln!("architect: {remark}");
    }
    outputs.write(&mut machine, &end, &places)?;
    match flushed {
        // A guest that was ended from outside need not get rid of its output.
        Err(error) if !matches!(end, End::Timeout | End::Interrupted(_)) => Err(error.into()),
        _ => Ok(end.status()),
    }
}

fn open_outputs(args: &BootArgs, begin: Option<Instant>) -> Result<Outputs, Error> {
    let open =
        |option, path: &Option<_>| path.as_deref().map(|path| AtomicFile::create(option, path)).transpose();
    let (core, json) = (open("--core", &args.core)?, open("--json", &args.json)?);
    if let (Some(core), Some(path)) = (&core, &args.core)
        && !core.is_regular()
    {
        return Err(Error::Input(Report::new(
            "a core file cannot be written to a device or pipe",
            format!("--core {}", path.display()),
            "give the path of a file",
        )));
    }
    Ok(Outputs { core, json: json.zip(begin) })
}

/// A guest and its surroundings while it runs.
struct Boot<'a> {
    machine: Machine<Console>,
    /// The first event, if the guest ran before the wall was started.
    first: Option<Event>,
    wall: &'a Wall,
    events: Receiver<WallEvent>,
    /// The watchdog has stopped the guest where it is.
    paused: bool,
    /// There is input that the guest has not had room for; no more is read until it has.
    held_input: bool,
}

impl Boot<'_> {
    fn run(&mut self) -> Result<End, VmmError> {
        loop {
            let event = match self.first.take() {
                Some(event) => event,
                None if self.paused => Event::Kicked,
                None => self.machine.step()?,
            };
            let end = match event {
                Event::Exit(code) => Some(End::Exit(code)),
                Event::Reset => Some(End::Reset),
                Event::TripleFault => Some(End::TripleFault),
                Event::Crash(crash) => Some(End::Crash(crash)),
                Event::Halted => {
                    self.paused = true;
                    None
                }
                Event::WatchdogChanged => {
                    self.wall.set_watchdog(self.machine.bus().watchdog.deadline());
                    None
                }
                Event::OutputWaits => {
                    self.wall.flush_later();
                    None
                }
                Event::Kicked => self.handle_wall_events()?,
                // Doorbells have no meaning here, and stray accesses are only counted.
                Event::Doorbell { .. } | Event::Trap | Event::Stray { .. } => None,
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Handles the events from outside of the guest; waits for one if the guest is paused.
    fn handle_wall_events(&mut self) -> Result<Option<End>, VmmError> {
        let mut failed = Ok(None);
        let mut next = if self.paused { self.events.recv().ok() } else { self.events.try_recv().ok() };
        while let Some(event) = next {
            let end = match event {
                WallEvent::Timeout => Some(End::Timeout),
                WallEvent::Signal(signal) => Some(End::Interrupted(signal)),
                WallEvent::Watchdog(generation) => self.watchdog(generation)?,
                WallEvent::Flush => {
                    // If output fails because the run was ended from outside, that event comes next and is
                    // the reason.
                    if let Err(error) = self.machine.flush_console() {
                        failed = Err(error);
                    }
                    self.input_room();
                    None
                }
                WallEvent::Input(bytes) => {
                    // Interrupts of the serial port go nowhere: the guest asks for input.
                    let _ = self.machine.bus_mut().serial.queue_input(&bytes);
                    self.held_input = true;
                    self.input_room();
                    None
                }
                WallEvent::Silence => None,
            };
            if end.is_some() {
                return Ok(end);
            }
            next = self.events.try_recv().ok();
        }
        failed
    }

    fn watchdog(&mut self, generation: u64) -> Result<Option<End>, VmmError> {
        // A countdown that the guest has restarted meanwhile has no effect.
        let Some(expired) = self.machine.bus_mut().watchdog.expire(generation) else { return Ok(None) };
        self.wall.set_watchdog(self.machine.bus().watchdog.deadline());
        match expired.action {
            WatchdogAction::None => {}
            WatchdogAction::Nmi => self.machine.nmi()?,
            WatchdogAction::Debug => {
                let registers = self.machine.registers()?;
                eprintln!(
                    "architect: watchdog stage {} expired, rip {:#x}",
                    expired.stage, registers.general.rip
                );
            }
            WatchdogAction::Pause => {
                self.machine.flush_console()?;
                eprintln!(
                    "architect: the watchdog has paused the guest; it stays so until --timeout or a signal"
                );
                self.paused = true;
            }
            action @ (WatchdogAction::Reset | WatchdogAction::Poweroff) => {
                return Ok(Some(End::Watchdog(action)));
            }
        }
        Ok(None)
    }

    /// Asks for more input if the guest has room for it; else checks again soon.
    fn input_room(&mut self) {
        if !self.held_input {
            return;
        }
        if self.machine.bus().serial.input_waiting() <= INPUT_WAITING {
            self.held_input = false;
            self.wall.more_input();
        } else {
            self.wall.flush_later();
        }
    }
}

impl Outputs {
    fn write(self, machine: &mut Machine<Console>, end: &End, places: &Places<'_>) -> Result<(), Error> {
        if let Some(core) = self.core {
            let registers = machine.registers()?;
            core.finish(|file| core_file::write(file, machine.memory(), &registers))?;
        }
        if let Some((json, begin)) = self.json {
            let mut text = summary(machine, end, places, begin.elapsed()).to_string();
            text.push('\n');
            json.finish(|file| std::io::Write::write_all(file, text.as_bytes()))?;
        }
        Ok(())
    }
}

fn summary(machine: &Machine<Console>, end: &End, places: &Places<'_>, wall: Duration) -> serde_json::Value {
    let (counts, counters) = (machine.counts(), machine.bus().counters());
    let mut summary = json!({
        "version": 1,
        "end": end.name(),
        "code": end.status(),
        "exits": counts.exits,
        "wall_ms": wall.as_secs_f64() * 1e3,
        "watchdog": {"pets": counters.watchdog.pets, "expirations": counters.watchdog.expirations},
        "serial_bytes": machine.bus().serial.bytes_sent(),
        "stray": {
            "reads": counts.stray_reads + counters.stray_reads,
            "writes": counts.stray_writes + counters.stray_writes,
        },
    });
    if let End::Crash(Crash { error, rip }) = end {
        summary["crash"] = json!({
            "suberror": error.suberror,
            "rip": format!("{rip:#x}"),
            "at": places.at(*rip),
            "instruction": error.bytes.to_string(),
        });
    }
    summary
}
