//! Failures of the VMM, and the error that every function of the machine returns.

use vmm_sys_util::errno;

use crate::error::host::HostError;
use crate::error::report::Report;

/// Why a machine could not be built, run, saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, a kernel image or a module that cannot be used.
    #[error("{0}")]
    Input(Report),
    /// This host cannot do it.
    #[error("{}", .0.report())]
    Host(#[from] HostError),
    /// The VMM failed.
    #[error("{}", .0.report())]
    Vmm(#[from] VmmError),
}

/// The VMM, or something that it relies on, failed while a guest ran.
#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    /// A call to KVM failed.
    #[error("{call} failed: {error}")]
    Ioctl {
        /// The name of the call in `linux/kvm.h`.
        call: &'static str,
        /// The kernel's answer.
        error: errno::Error,
    },
    /// KVM reported an exit that the VMM does not handle.
    #[error("KVM reported an exit that is not handled: number {0}")]
    UnknownExit(u32),
    /// KVM's own description of an exit contradicts itself.
    #[error("KVM described an exit with data outside the shared page")]
    BadExit,
    /// KVM reported a system event; none that the VMM enables exists on x86.
    #[error("KVM reported a system event that is not handled: type {0}")]
    SystemEvent(u32),
    /// The processor refused to enter the guest.
    #[error("the processor refused to enter the guest: hardware reason {0:#x}")]
    FailEntry(u64),
    /// A thread, timer, event or file that the VMM needs could not be created.
    #[error("{what}: {error}")]
    Resource {
        /// What could not be created.
        what: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// The probe of this host failed.
    #[error("the probe of this host ended in an unexpected way: {0}")]
    Probe(String),
    /// The guest's output can no longer be written.
    #[error("the guest's console cannot be written: {0}")]
    Console(std::io::Error),
}

impl VmmError {
    /// For `map_err` on calls to KVM.
    pub fn ioctl(call: &'static str) -> impl FnOnce(errno::Error) -> Self {
        move |error| Self::Ioctl { call, error }
    }

    /// For `map_err` on everything else.
    pub fn resource<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Resource { what, error: error.into() }
    }

    /// What, where, remedy.
    pub fn report(&self) -> Report {
        let (place, remedy) = match self {
            Self::Ioctl { call, .. } => (
                format!("{call} on this host's KVM"),
                "look for KVM's messages in the host's kernel log; without any, this is a bug of the VMM or of the host's KVM",
            ),
            Self::UnknownExit(_) | Self::SystemEvent(_) | Self::BadExit | Self::Probe(_) => (
                "KVM_RUN on this host's KVM".into(),
                "look for KVM's messages in the host's kernel log; without any, this is a bug of the VMM",
            ),
            Self::FailEntry(_) => (
                "KVM_RUN on this host's KVM".into(),
                "look at the host's kernel log: it names the state that the processor refused",
            ),
            Self::Resource { .. } => {
                ("this process".into(), "check the limits on threads and open files (`ulimit -a`)")
            }
            Self::Console(_) => (
                "the guest's console".into(),
                "check the reader of standard output, or the space behind --serial",
            ),
        };
        Report::new(self.to_string(), place, remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_where_and_what_to_do() {
        let text = Error::from(VmmError::UnknownExit(99)).to_string();
        assert!(text.contains("99") && text.contains("where:") && text.contains("remedy:"), "{text}");
    }
}
