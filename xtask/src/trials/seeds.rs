//! `cargo xtask seeds`: tries many seeds (`tests/tests/seeds.rs`).
//!
//! In the demo every leak must be found by the first audit that could, with precision and recall 1; in the
//! healthy scenario nothing may be flagged. Says how many seeds passed, and names the first one that failed.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use clap::Args;
use serde::Deserialize;

use crate::failure::Failure;
use crate::host::{Files, Host, architect, on_svm_host};
use crate::workspace::{cargo, printed, root, tied};

/// Arguments of `cargo xtask seeds`.
#[derive(Debug, Args)]
pub(crate) struct SeedsArgs {
    /// Seeds of scenarios/demo-leak.toml; 0 for none
    #[arg(long, value_name = "N", default_value = "100")]
    demo: u64,
    /// Seeds of scenarios/healthy.toml; 0 for none
    #[arg(long, value_name = "N", default_value = "100")]
    healthy: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value = "1")]
    from: u64,
    /// Seeds in one go, after each of which a line is printed
    #[arg(long, value_name = "N", default_value = "50")]
    batch: NonZeroU64,
    /// Where guests run; an emulated host is started anew for each batch
    #[arg(long, value_enum, default_value = "kvm")]
    host: Host,
}

/// Tries the seeds.
///
/// # Errors
///
/// A seed that failed, or an emulated host that froze twice in a batch.
pub(crate) fn seeds(args: &SeedsArgs) -> Result<(), Failure> {
    args.host.set_up()?;
    let trial = Trial { args, architect: architect()?, program: build()? };
    trial.batches("demo", "every_leak_is_found_by_the_first_audit_that_can", args.demo)?;
    trial.batches("healthy", "sharing_that_is_in_order_is_never_flagged", args.healthy)?;
    let SeedsArgs { demo, healthy, host, .. } = args;
    println!("all passed: {demo} of the demo, {healthy} of the healthy scenario, host {}", host.name());
    Ok(())
}

/// What is read of cargo's messages about a program that it built.
#[derive(Debug, Deserialize)]
struct Artifact {
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the test program.
fn build() -> Result<PathBuf, Failure> {
    let failed =
        |problem: String| Failure::new(Failure::SETUP, format!("the test does not build: {problem}"));
    let output = cargo()
        .args(["test", "-p", "tests", "--release", "--locked", "--target-dir", "target", "--test", "seeds"])
        .args(["--no-run", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let messages = String::from_utf8_lossy(&output.stdout);
    // Other messages have no such fields.
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let program = artifacts.filter(|artifact| artifact.profile.test).find_map(|artifact| artifact.executable);
    program.ok_or_else(|| failed("see above".to_owned()))
}

struct Trial<'a> {
    args: &'a SeedsArgs,
    architect: PathBuf,
    program: PathBuf,
}

impl Trial<'_> {
    /// Runs a test over these seeds, a batch at a time.
    fn batches(&self, name: &str, test: &str, seeds: u64) -> Result<(), Failure> {
        let (mut first, end) = (self.args.from, self.args.from + seeds);
        while first < end {
            let count = self.args.batch.get().min(end - first);
            let begin = Instant::now();
            let output = self.run(test, first, count)?;
            let text = printed(&output);
            if !output.status.success() {
                eprint!("{text}");
                return Err(match output.status.code() {
                    Some(3) => {
                        Failure::new(Failure::SETUP, "the emulated host could not be set up, see above")
                    }
                    Some(4) => Failure::new(Failure::ENDED, "the emulated host froze, see above"),
                    _ => Failure::from(format!("{name}: a seed from {first} on failed")),
                });
            }
            let result =
                text.lines().find_map(|line| line.find(&format!("{count} seeds: ")).map(|at| &line[at..]));
            let result = result.ok_or_else(|| format!("{name}: the test told no result:\n{text}"))?;
            println!("{name}, from seed {first}: {result} ({} s)", begin.elapsed().as_secs());
            first += count;
        }
        Ok(())
    }

    fn run(&self, test: &str, first: u64, count: u64) -> Result<Output, Failure> {
        let scenarios = root().join("scenarios");
        let extend = |command: &mut Command| {
            command.args([test, "--exact", "--nocapture"]);
            command.env("ARCHITECT_SEEDS", count.to_string()).env("ARCHITECT_FIRST_SEED", first.to_string());
            command.env("ARCHITECT_BIN", &self.architect).env("ARCHITECT_SCENARIOS", &scenarios);
            command.env("SVM_HOST_TIMEOUT", "3000").current_dir(root());
        };
        let program: &Path = &self.program;
        if self.args.host == Host::Svm {
            let input = vec![self.program.clone(), self.architect.clone(), scenarios.clone()];
            return on_svm_host(&Files { input, kept: Vec::new() }, program, extend);
        }
        let mut command = tied(program);
        extend(&mut command);
        command.output().map_err(|error| Failure::new(Failure::SETUP, format!("{command:?}: {error}")))
    }
}
