//! Why a host cannot run guests: what, where, and what to do.

use std::path::PathBuf;

use vmm_sys_util::errno;

use crate::error::report::Report;

/// The device of KVM.
pub const DEVICE: &str = "/dev/kvm";

/// Why this host cannot run guests.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The device does not exist.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// The device may not be opened.
    #[error("no permission to use {}", .0.display())]
    Permission(PathBuf),
    /// The device cannot be opened for another reason.
    #[error("cannot open {}: {error}", .path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        error: errno::Error,
    },
    /// The device is not KVM, or KVM of another version.
    #[error("KVM has API version {0}, not 12")]
    ApiVersion(i32),
    /// A capability is missing.
    #[error("this host's KVM lacks {0}")]
    Capability(&'static str),
    /// KVM cannot create a VM.
    #[error("KVM cannot create a VM: {0}")]
    CreateVm(errno::Error),
    /// The host has not enough memory, or address space.
    #[error("the host cannot give the guest {memory_mib} MiB of memory: {error}")]
    Memory {
        /// What was asked for.
        memory_mib: u32,
        /// Why not.
        error: String,
    },
}

impl HostError {
    /// What, where, remedy.
    pub fn report(&self) -> Report {
        let remedy = match self {
            Self::Missing(_) => {
                "load the kernel's module (`modprobe kvm_intel` or `modprobe kvm_amd`) and switch on virtualisation \
                 in the firmware; in a virtual machine or container, have its host pass /dev/kvm on"
            }
            Self::Permission(_) => {
                "become a member of the device's group (`sudo usermod -aG kvm $USER`, then log in again), or run as root"
            }
            Self::Open { .. } => "read the host's kernel log (`dmesg | grep -i kvm`)",
            Self::ApiVersion(_) => "check that the device is KVM's",
            Self::Capability(_) => "use a newer Linux kernel: 4.12 is the oldest that has everything",
            Self::CreateVm(_) => {
                "stop other hypervisors that use the processor's virtualisation, and read the host's kernel log"
            }
            Self::Memory { .. } => "give the guest less memory",
        };
        let place = match self {
            Self::Missing(path) | Self::Permission(path) | Self::Open { path, .. } => {
                path.display().to_string()
            }
            Self::Memory { .. } => "this host's memory".into(),
            _ => DEVICE.into(),
        };
        Report::new(self.to_string(), place, remedy)
    }
}
