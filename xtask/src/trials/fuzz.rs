//! `cargo xtask fuzz`: fuzzes the crate introspect (`fuzz/`): page walk and reverse map, the map that follows
//! changes, the scan for roots, the reader of cores.
//!
//! libFuzzer searches for memory and files that break what must always hold; the same seed tries the same
//! ones. Where it cannot be built, the same targets get generated inputs instead, and a line says so. A case
//! that breaks something is kept in `target/fuzz/findings`. The last line counts the targets as `cargo test`
//! does.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use clap::Args;

use crate::failure::Failure;
use crate::host::library;
use crate::workspace::{cargo, printed, root, run, say, tied};

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Cases, shared out among the targets, which run at once
    #[arg(default_value = "10000000")]
    cases: NonZeroU64,
    /// Where the fuzzer's random numbers begin
    #[arg(long, value_name = "SEED", default_value = "1")]
    seed: u64,
}

const TARGETS: [&str; 4] = ["walker", "follow", "roots", "core"];
/// A target is named so that build scripts and macros stay as they are.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
const FINDINGS: &str = "target/fuzz/findings";
/// Every edge of every crate counts itself, and comparisons show their operands: LLVM's SanitizerCoverage, by
/// flags that stable compilers have.
const COVERAGE: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
                        -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                        -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs all targets.
///
/// # Errors
///
/// A target found a case.
pub(crate) fn fuzz(args: &FuzzArgs) -> Result<(), Failure> {
    let cases = args.cases.get().div_ceil(TARGETS.len() as u64);
    library("have c++ || (install_packages \"to build libFuzzer\" g++) || true")?;
    if let Err(problem) = build()? {
        eprintln!("{problem}");
        say(&format!("libFuzzer cannot be built here: {cases} generated inputs for each target instead"));
        return replay(cases);
    }
    let findings = root().join(FINDINGS);
    fs::create_dir_all(&findings).map_err(|error| format!("{}: {error}", findings.display()))?;
    let ended: Vec<_> = thread::scope(|scope| {
        let all = TARGETS.map(|target| scope.spawn(move || run_target(target, cases, args.seed)));
        all.into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut failed = 0;
    for (target, output) in TARGETS.into_iter().zip(ended) {
        let output = output?;
        println!("{}", result(target, &output));
        failed += usize::from(!output.status.success());
    }
    let outcome = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {outcome}. {} passed; {failed} failed", TARGETS.len() - failed);
    if failed == 0 { Ok(()) } else { Err(Failure::from(format!("{failed} targets failed"))) }
}

/// Builds the targets with libFuzzer; the inner error is the end of what the compiler said.
fn build() -> Result<Result<(), String>, String> {
    let output = cargo()
        .args(["build", "--manifest-path", "fuzz/Cargo.toml", "--release", "--locked", "--quiet"])
        .args(["--features", "libfuzzer", "--bins", "--target", PLATFORM, "--target-dir", "target/fuzz"])
        .env("RUSTFLAGS", COVERAGE)
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let text = printed(&output);
    Ok(Err(last_lines(text.lines().filter(|line| !line.trim().is_empty()), 2)))
}

/// Feeds generated inputs to the targets, by `fuzz/tests/replay.rs`.
fn replay(cases: u64) -> Result<(), Failure> {
    let mut command = cargo();
    command.args(["test", "--manifest-path", "fuzz/Cargo.toml", "--release", "--locked"]);
    command.args(["--target-dir", "target/fuzz", "--test", "replay"]).env("FUZZ_CASES", cases.to_string());
    Ok(run(&mut command)?)
}

/// A target's program, from the workspace's folder: what it covers depends a little on the length of its
/// arguments.
fn program(target: &str) -> PathBuf {
    Path::new("target/fuzz").join(PLATFORM).join("release").join(target)
}

fn run_target(target: &str, cases: u64, seed: u64) -> Result<Output, String> {
    let mut command = tied(&program(target));
    // An input of 800 bytes fills every table. A case that takes five minutes hangs.
    command
        .args([format!("-runs={cases}"), format!("-seed={seed}")])
        .args(["-max_len=800", "-len_control=0"]);
    command
        .args(["-timeout=300", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={FINDINGS}/{target}-"));
    command.current_dir(root()).output().map_err(|error| format!("{target}: {error}"))
}

/// A line about a target as `cargo test` prints it; before that the end of the log of one that failed.
fn result(target: &str, output: &Output) -> String {
    let log = printed(output);
    if !output.status.success() {
        let again = format!("once more: {} FILE, with the file named above", program(target).display());
        return format!("{}\ntest fuzz {target} ... FAILED ({again})", last_lines(log.lines(), 40));
    }
    // The fuzzer's last report: edges covered, inputs kept because each showed something new.
    let (edges, kept) = (last_number(&log, " cov: "), last_number(&log, " corp: "));
    let executed = last_number(&log, "stat::number_of_executed_units: ");
    format!("test fuzz {target} ... ok ({executed} cases, {edges} edges covered by {kept} inputs)")
}

/// The number after the last occurrence of a key.
fn last_number<'t>(log: &'t str, key: &str) -> &'t str {
    let after = log.rsplit_once(key).map_or("", |(_, after)| after.trim_start());
    &after[..after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len())]
}

fn last_lines<'t>(lines: impl Iterator<Item = &'t str>, count: usize) -> String {
    let lines: Vec<_> = lines.collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};

    use super::{last_lines, last_number, result};

    #[test]
    fn a_target_that_found_a_case_is_told_with_the_end_of_its_log() {
        let output = |code: i32| Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: Vec::new(),
            stderr: b"#9 DONE cov: 17 ft: 20 corp: 4/9b\nTest unit written to FILE\n".to_vec(),
        };
        let failed = result("core", &output(77));
        assert!(
            failed.contains("written to FILE\ntest fuzz core ... FAILED (once more: target/fuzz/"),
            "{failed}"
        );
        assert!(result("core", &output(0)).starts_with("test fuzz core ... ok ("));
    }

    #[test]
    fn the_last_report_counts() {
        let log = "#2 INITED cov: 5 ft: 6 corp: 1/1b\n#9 DONE cov: 17 ft: 20 corp: 4/9b\n\
                   stat::number_of_executed_units: 9\n";
        assert_eq!((last_number(log, " cov: "), last_number(log, " corp: ")), ("17", "4"));
        assert_eq!(last_number(log, "stat::number_of_executed_units: "), "9");
        assert_eq!(last_number("", " cov: "), "");
        assert_eq!(last_lines(log.lines(), 1), "stat::number_of_executed_units: 9");
    }
}
