//! `cargo xtask differential`: holds the page walk of the crate introspect against other ones
//! (`tests/differential`), on cores of our own guests and on dumps of a stock Linux guest that is booted for
//! it under QEMU's software emulation.
//!
//! Fetches Volatility 3 from PyPI once, into `.cache/differential`. The last line counts as that of `cargo
//! test` does. `scripts/test --full` calls this.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::host::{Host, library, svm_kernel};
use crate::workspace::{cargo, output, printed, root, run, say};

const HERE: &str = "tests/differential";
const CACHE: &str = ".cache/differential";

/// Makes what is compared, and compares it.
///
/// # Errors
///
/// Something cannot be fetched, built or run, or two parties differ.
pub(crate) fn differential() -> Result<(), Failure> {
    let python = "python3 -c 'import ensurepip, venv' 2>/dev/null || \
                  install_packages \"to hold our page walk against Volatility's\" python3 python3-venv";
    Host::Svm.set_up()?;
    library(python)?;
    let venv = venv()?;
    let work = tempfile::tempdir().map_err(|error| format!("a scratch folder: {error}"))?;
    build(work.path())?;
    make_cores(work.path())?;
    let linux = work.path().join("linux");
    fs::create_dir(&linux).map_err(|error| format!("{}: {error}", linux.display()))?;
    let mut compare = Command::new(venv.join("bin/python3"));
    compare.arg("-B").arg(format!("{HERE}/compare.py"));
    compare.args(["target/release/examples/mappings", "target/release/architect"]);
    compare.arg("target/walks/release/compare").arg(&linux).arg(svm_kernel().join("vmlinuz"));
    compare.arg(work.path().join("teller")).arg(busybox()?);
    compare.args(["demo/core.elf", "demo/core-2.elf", "alone.elf"].map(|core| work.path().join(core)));
    Ok(run(compare.stdin(Stdio::null()))?)
}

fn busybox() -> Result<String, String> {
    Ok(output(Command::new("bash").args(["-c", "type -P busybox"]))?.trim_end().to_owned())
}

/// Volatility, in a folder for its very requirements; the folder appears when all of it is there.
fn venv() -> Result<PathBuf, Failure> {
    let requirements = root().join(HERE).join("requirements.txt");
    let sum = output(Command::new("sha256sum").arg(&requirements))?;
    let cache = root().join(CACHE);
    let venv = cache.join(sum.get(..16).unwrap_or(&sum));
    if venv.exists() {
        return Ok(venv);
    }
    say("fetching Volatility 3 (to hold our page walk against its)");
    let failed = |error: std::io::Error| format!("{}: {error}", cache.display());
    if cache.exists() {
        fs::remove_dir_all(&cache).map_err(failed)?;
    }
    fs::create_dir_all(&cache).map_err(failed)?;
    let fresh = cache.join("fresh");
    run(Command::new("python3").args(["-m", "venv"]).arg(&fresh))?;
    let mut pip = Command::new(fresh.join("bin/python3"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary", ":all:", "--require-hashes", "-r"]).arg(&requirements);
    run(&mut pip).map_err(|problem| {
        Failure::new(Failure::SETUP, format!("could not install Volatility 3 from PyPI: {problem}"))
    })?;
    fs::rename(&fresh, &venv).map_err(failed)?;
    Ok(venv)
}

/// Builds the three programs that report mappings: ours, memflow's, and the one that runs in the Linux guest.
fn build(work: &Path) -> Result<(), String> {
    let release = ["build", "--release", "--locked", "--quiet"];
    run(cargo().args(release).args(["--target-dir", "target", "-p", "introspect", "--example", "mappings"]))?;
    let manifest = ["--manifest-path", "introspect/bench/Cargo.toml", "--bin", "compare"];
    run(cargo().args(release).args(["--target-dir", "target/walks"]).args(manifest))?;
    let mut gcc = Command::new("gcc");
    run(gcc
        .args(["-O1", "-Wall", "-Wextra", "-static", "-o"])
        .arg(work.join("teller"))
        .arg(format!("{HERE}/teller.c")))
}

/// Clients that come at once and never leave. The time limit cuts this guest at any moment, and the root of a
/// process that is just being made does not have the kernel's half yet.
const LASTING_LIFE: &str = "people=24 spawn-every=1 rounds=18446744073709551615 patience=0";

/// Cores of two incarnations of a guest whose page tables have gone wrong, and of one guest without an
/// observer.
fn make_cores(work: &Path) -> Result<(), Failure> {
    let mut demo = Command::new("scripts/architect");
    demo.args(["run", "scenarios/demo-leak.toml", "--core", "--out"]).arg(work.join("demo"));
    output(demo.current_dir(root()))?;
    let mut boot = Command::new("scripts/architect");
    boot.args(["boot", "target/release/matrix.elf", "--timeout", "5", "--cmdline", LASTING_LIFE, "--core"]);
    boot.arg(work.join("alone.elf"));
    let booted = boot.current_dir(root()).stdin(Stdio::null()).output();
    let booted = booted.map_err(|error| format!("scripts/architect: {error}"))?;
    // This guest never ends by itself: 124 is the time limit's status.
    if booted.status.code() == Some(124) {
        return Ok(());
    }
    Err(Failure::from(format!(
        "the guest that is to leave a core ended: {}\n{}",
        booted.status,
        printed(&booted)
    )))
}
