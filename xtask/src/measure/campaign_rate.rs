//! `cargo xtask campaign-rate`: how many runs a second a campaign makes with one job, beside starting
//! `qemu-system-x86_64` once for each run with the same image on the same host.
//!
//! QEMU runs by KVM, and by its own emulation, which needs no KVM and may be faster where KVM has no hardware
//! beneath it. A run of either is the shortest there is: QEMU's ends when the kernel says that it is up, the
//! campaign's at its first tick, audited, judged and stored. They take turns, so that what else the machine
//! does hits all. Each factor holds for its accelerator and for this host: campaigns always run by KVM.

use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::failure::Failure;
use crate::host::{Host, architect, library};
use crate::workspace::{Running, output, root, tied};

/// Arguments of `cargo xtask campaign-rate`.
#[derive(Debug, Args)]
pub(crate) struct CampaignRateArgs {
    /// Rounds, each of one start of QEMU by each accelerator and of 100 runs
    #[arg(default_value = "9")]
    rounds: NonZeroUsize,
}

/// Runs of the campaign in a round.
const RUNS: u32 = 100;
/// Longest that a kernel takes to come up under QEMU.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run took in each round.
#[derive(Debug, Default)]
struct Times {
    by_kvm: Vec<Duration>,
    by_emulation: Vec<Duration>,
    by_campaign: Vec<Duration>,
}

/// Measures and prints medians of all rounds.
///
/// # Errors
///
/// QEMU is missing and cannot be installed, or the image does not come up.
pub(crate) fn campaign_rate(args: &CampaignRateArgs) -> Result<(), Failure> {
    library("setup_qemu")?;
    Host::Kvm.set_up()?;
    let architect = architect()?;
    let image = architect.with_file_name("matrix.elf");
    if !image.exists() {
        return Err(Failure::new(Failure::SETUP, format!("there is no {}", image.display())));
    }
    let work = tempfile::tempdir().map_err(|error| format!("a scratch folder: {error}"))?;
    let mut times = Times::default();
    for round in 0..args.rounds.get() {
        times.by_kvm.push(timed(|| start_qemu("kvm", &image))?);
        times.by_emulation.push(timed(|| start_qemu("tcg", &image))?);
        let database = work.path().join(format!("{round}.db"));
        times.by_campaign.push(timed(|| campaign(&architect, &database))? / RUNS);
    }
    print!("{}", shown(times, args.rounds));
    Ok(())
}

fn timed(task: impl FnOnce() -> Result<(), String>) -> Result<Duration, String> {
    let begin = Instant::now();
    task().map(|()| begin.elapsed())
}

fn campaign(architect: &Path, database: &Path) -> Result<(), String> {
    let mut command = Command::new(architect);
    command.arg("campaign").arg(root().join("scenarios/demo-leak.toml")).args(["--runs", &RUNS.to_string()]);
    command
        .args(["--jobs", "1", "--set", "vm.max-ticks=1", "--set", "vm.memory-mib=32", "--db"])
        .arg(database);
    output(&mut command).map(|_| ())
}

/// Starts QEMU with an image, and ends it when the kernel is up.
fn start_qemu(accelerator: &str, image: &Path) -> Result<(), String> {
    let mut command = tied(Path::new("qemu-system-x86_64"));
    command.args(["-accel", accelerator, "-display", "none", "-serial", "stdio", "-no-reboot", "-m", "32"]);
    command.args(["-device", "ib700", "-kernel"]).arg(image).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| format!("qemu-system-x86_64: {error}"))?;
    let mut qemu = Running(child);
    let serial = qemu.0.stdout.take().ok_or("QEMU has no standard output")?;
    let (sender, up) = mpsc::channel();
    // Ends with QEMU, whose end closes the pipe.
    thread::spawn(move || {
        let mut lines = BufReader::new(serial).split(b'\n').map_while(Result::ok);
        if lines.any(|line| String::from_utf8_lossy(&line).contains("matrix: up")) {
            let _ = sender.send(());
        }
    });
    up.recv_timeout(PATIENCE).map_err(|_| format!("the image does not come up under QEMU ({accelerator})"))
}

fn shown(times: Times, rounds: NonZeroUsize) -> String {
    let Times { by_kvm, by_emulation, by_campaign } = times;
    let (kvm, emulation, run) = (median(by_kvm), median(by_emulation), median(by_campaign));
    let rate = |time: f64| format!("{:8.1} ms a run, {:6.2} a second", time * 1000.0, 1.0 / time);
    format!(
        "campaign  {}, by KVM (medians of {rounds} rounds)\n\
         QEMU, KVM {}: by the same KVM the campaign is {:.1} times as fast\n\
         QEMU, TCG {}: beside QEMU's own emulation the campaign is {:.1} times as fast\n",
        rate(run),
        rate(kvm),
        kvm / run,
        rate(emulation),
        emulation / run
    )
}

/// The median in seconds; of an even number the lower one of the two in the middle.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len().saturating_sub(1) / 2).map_or(0.0, Duration::as_secs_f64)
}
