//! Errors of the command, by cause, and so by exit status.

use vmm::error::HostError;
use vmm::machine::loader::ImageError;

pub use vmm::error::{Report, VmmError};
pub use vmm::wall::Signal;

/// Everything that can end a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was expected did not happen.
    #[error("{0}")]
    Expectation(Report),
    /// Bad arguments, a bad scenario, a file that cannot be used.
    #[error("{0}")]
    Input(Report),
    /// The machine could not be built, run or restored.
    #[error("{}{}", .0, doctor_hint(.0))]
    Machine(#[from] vmm::Error),
    /// A signal ended the command.
    #[error("ended by {0}")]
    Interrupted(Signal),
    /// One run of a campaign failed.
    #[error("run {run} with seed {seed}: {error}")]
    InRun {
        /// Its number.
        run: u64,
        /// Its seed.
        seed: u64,
        /// Why it failed.
        error: Box<Self>,
    },
}

impl Error {
    /// Adds the run of a campaign in which the error happened. An interruption concerns the whole campaign.
    pub fn in_run(self, run: u64, seed: u64) -> Self {
        if let Self::Interrupted(_) = self {
            return self;
        }
        Self::InRun { run, seed, error: Box::new(self) }
    }

    /// The exit status of the process, as promised to scripts.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Expectation(_) => 1,
            Self::Input(_) | Self::Machine(vmm::Error::Input(_)) => 2,
            Self::Machine(vmm::Error::Host(_)) => 3,
            Self::Machine(vmm::Error::Vmm(_)) => 4,
            Self::Interrupted(signal) => signal.exit_status(),
            Self::InRun { error, .. } => error.exit_status(),
        }
    }
}

/// The line that points to `architect doctor`, for errors that it may explain.
fn doctor_hint(error: &vmm::Error) -> &'static str {
    match error {
        vmm::Error::Vmm(_) => "\n  see:    `architect doctor` examines this host",
        _ => "",
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        Self::Machine(error.into())
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        Self::Machine(error.into())
    }
}

impl From<VmmError> for Error {
    fn from(error: VmmError) -> Self {
        Self::Machine(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_the_exit_status_of_the_contract() {
        let report = || Report::new("a", "b", "c");
        assert_eq!(Error::Expectation(report()).exit_status(), 1);
        assert_eq!(Error::Input(report()).exit_status(), 2);
        assert_eq!(Error::from(vmm::Error::Input(report())).exit_status(), 2);
        assert_eq!(Error::from(HostError::ApiVersion(11)).exit_status(), 3);
        assert_eq!(Error::from(VmmError::BadExit).exit_status(), 4);
        assert_eq!(Error::from(VmmError::BadExit).in_run(7, 8).exit_status(), 4);
        let interrupted = Error::Interrupted(Signal::Terminate).in_run(7, 8);
        assert!(matches!(interrupted, Error::Interrupted(_)) && interrupted.exit_status() == 143);
    }
}
