//! The workspace that tasks work on, and the commands that they run in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Runs a command in the workspace's folder and waits for its end.
///
/// # Errors
///
/// The command, where it cannot be run or fails.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let status = command.current_dir(root()).status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}")) }
}

/// Runs a command to its end without input, and returns what it printed to standard output.
///
/// # Errors
///
/// The command, where it cannot be run or fails, with what it printed to standard error.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?} failed: {}\n{}", output.status, printed(&output)))
}

/// All that a command printed.
pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A command that the system ends (SIGTERM) when this program ends, however that happens: an emulated host
/// that outlived its task would write its database over that of the next attempt.
pub(crate) fn tied(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    // An interrupt from the terminal reaches it by way of this program's end only.
    command.stdin(Stdio::null()).process_group(0);
    command
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).stdin(Stdio::null());
    cargo
}

/// A child process that is killed where its task ends before it does.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A child that has ended already cannot be killed, and there is nothing to do about one that cannot.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints a line for the user to standard error.
pub(crate) fn say(text: &str) {
    eprintln!("xtask: {text}");
}
