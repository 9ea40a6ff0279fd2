//! What this machine must have: set-up by the functions of `scripts/lib.sh`, the built command, and the two
//! KVM hosts.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use clap::ValueEnum;

use crate::failure::Failure;
use crate::workspace::{printed, root, say, tied};

/// Where guests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Host {
    /// This machine's KVM
    Kvm,
    /// An emulated host (scripts/svm-host)
    Svm,
}

impl Host {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Svm => "svm",
        }
    }

    /// The host that the user chose; without a choice KVM where it can be used, and a line that says so
    /// elsewhere.
    pub(crate) fn or_usable(choice: Option<Self>) -> Self {
        choice.unwrap_or_else(|| match kvm_problem() {
            None => Self::Kvm,
            Some(problem) => {
                say(&problem);
                say("running on emulated KVM hosts instead (scripts/svm-host)");
                Self::Svm
            }
        })
    }

    /// Installs what this host needs.
    ///
    /// # Errors
    ///
    /// What is missing and cannot be installed.
    pub(crate) fn set_up(self) -> Result<(), Failure> {
        match self {
            Self::Kvm => kvm_problem().map_or(Ok(()), |problem| Err(Failure::new(Failure::SETUP, problem))),
            Self::Svm => {
                library("setup_svm_host")?;
                fetch_svm_kernel()
            }
        }
    }
}

/// Runs a line of bash that may call the functions of `scripts/lib.sh`.
///
/// # Errors
///
/// The line fails; the functions have said why.
pub(crate) fn library(line: &str) -> Result<(), Failure> {
    let status =
        bash(line).status().map_err(|error| Failure::new(Failure::SETUP, format!("bash: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Failure::SETUP);
    Err(Failure::new(code, "set-up failed, see above"))
}

fn bash(line: &str) -> Command {
    let mut bash = Command::new("bash");
    let library = root().join("scripts/lib.sh");
    bash.args(["-c", &format!("set -euo pipefail; . \"$1\"; {line}"), "xtask"]).arg(library);
    bash.current_dir(root());
    bash
}

/// Why this machine's KVM cannot be used, and what to change; `None` where it can.
pub(crate) fn kvm_problem() -> Option<String> {
    let output = bash("kvm_usable || printf %s \"$kvm_problem\"").output();
    match output {
        Ok(output) => {
            Some(String::from_utf8_lossy(&output.stdout).into_owned()).filter(|text| !text.is_empty())
        }
        Err(error) => Some(format!("bash: {error}")),
    }
}

/// The command: `ARCHITECT_BIN`, or `target/release/architect`, made up to date first.
///
/// # Errors
///
/// It cannot be built.
pub(crate) fn architect() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("ARCHITECT_BIN") {
        return Ok(path.into());
    }
    library("setup_rust; build_architect")
        .map_err(|_| Failure::new(Failure::SETUP, "architect does not build"))?;
    Ok(root().join("target/release/architect"))
}

/// What a command on an emulated host needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    /// Files and folders that it reads.
    pub(crate) input: Vec<PathBuf>,
    /// Files that it writes.
    pub(crate) kept: Vec<PathBuf>,
}

/// A command on a new emulated host, made by a function since it is run a second time where the emulator
/// freezes, as it may on a busy machine: its own exit status 4. Any other status is the command's, and final.
///
/// # Errors
///
/// The script cannot be run.
pub(crate) fn on_svm_host(
    files: &Files,
    program: &Path,
    extend: impl Fn(&mut Command),
) -> Result<Output, Failure> {
    let attempt = || {
        let mut command = tied(&root().join("scripts/svm-host"));
        for path in &files.input {
            command.arg("--in").arg(path);
        }
        for path in &files.kept {
            command.arg("--keep").arg(path);
        }
        command.arg("--").arg(program);
        extend(&mut command);
        command.output().map_err(|error| Failure::new(Failure::SETUP, format!("scripts/svm-host: {error}")))
    };
    let first = attempt()?;
    if !is_frozen(first.status) {
        return Ok(first);
    }
    say("the emulated host froze; once more");
    attempt()
}

/// The kernel of the emulated host, which `scripts/svm-host` fetches when it first runs.
pub(crate) fn svm_kernel() -> PathBuf {
    root().join(".cache/svm-host/kernel")
}

/// Fetches it at once, so that hosts which start together do not fetch it twice.
fn fetch_svm_kernel() -> Result<(), Failure> {
    if svm_kernel().exists() {
        return Ok(());
    }
    let output = on_svm_host(&Files::default(), Path::new("true"), |_| ())?;
    if output.status.success() { Ok(()) } else { Err(Failure::new(Failure::SETUP, printed(&output))) }
}

/// Whether the exit status of `scripts/svm-host` says that the emulator froze.
pub(crate) fn is_frozen(status: ExitStatus) -> bool {
    status.code() == Some(i32::from(Failure::ENDED))
}
