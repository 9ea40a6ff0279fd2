//! The device: opening it, asking for its capabilities, creating VMs.

use std::ffi::CString;
use std::path::Path;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, KVM_MEM_LOG_DIRTY_PAGES};
use kvm_ioctls::Cap;
use vmm_sys_util::errno;

use crate::error::{DEVICE, Error, HostError, VmmError};
use crate::host::kvm::vm::Vm;
use crate::host::memory::GuestMemory;

/// The only version of the KVM API that there has been since 2007.
pub const API_VERSION: i32 = 12;

/// Capabilities without which nothing runs.
pub const NEEDED: [(Cap, &str); 7] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::MpState, "KVM_CAP_MP_STATE"),
    (Cap::UserNmi, "KVM_CAP_USER_NMI"),
    (Cap::VcpuEvents, "KVM_CAP_VCPU_EVENTS"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
];

/// The KVM device, checked.
pub struct Kvm {
    fd: kvm_ioctls::Kvm,
}

impl Kvm {
    /// Opens `/dev/kvm` and checks that it has what every guest needs.
    ///
    /// # Errors
    ///
    /// The device is missing, may not be opened, or lacks something.
    pub fn open() -> Result<Self, HostError> {
        Self::open_at(Path::new(DEVICE))
    }

    /// The same for a device at another path.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or lacks something.
    pub fn open_at(path: &Path) -> Result<Self, HostError> {
        let kvm = Self::open_unchecked(path)?;
        match NEEDED.iter().find(|(capability, _)| kvm.capability(*capability) <= 0) {
            Some((_, name)) => Err(HostError::Capability(name)),
            None => Ok(kvm),
        }
    }

    /// Opens the device and checks only its version, for a caller that lists all missing capabilities.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or has another version.
    pub fn open_unchecked(path: &Path) -> Result<Self, HostError> {
        let text = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| HostError::Missing(path.to_owned()))?;
        let fd = kvm_ioctls::Kvm::new_with_path(text).map_err(|error| match error.errno() {
            libc::ENOENT | libc::ENODEV | libc::ENXIO => HostError::Missing(path.to_owned()),
            libc::EACCES | libc::EPERM => HostError::Permission(path.to_owned()),
            _ => HostError::Open { path: path.to_owned(), error },
        })?;
        match fd.get_api_version() {
            API_VERSION => Ok(Self { fd }),
            other => Err(HostError::ApiVersion(other)),
        }
    }

    /// What KVM says of a capability: 0 or less if it lacks it.
    pub fn capability(&self, capability: Cap) -> i32 {
        self.fd.check_extension_int(capability)
    }

    /// What KVM says of a capability by its number in `linux/kvm.h`.
    pub fn capability_by_number(&self, number: u32) -> i32 {
        self.fd.check_extension_raw(number.into())
    }

    /// The CPUID that this host's KVM can give to a guest.
    pub fn supported_cpuid(&self) -> Result<CpuId, VmmError> {
        self.fd.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(VmmError::ioctl("KVM_GET_SUPPORTED_CPUID"))
    }

    /// Creates a VM with this memory and a local APIC, but no other interrupt controller and no timer chips.
    ///
    /// # Errors
    ///
    /// KVM cannot create it.
    pub fn create_vm(&self, memory: &GuestMemory) -> Result<Vm, Error> {
        self.create_vm_with(memory, 0)
    }

    /// The same, and KVM logs from the beginning which frames the guest writes.
    ///
    /// # Errors
    ///
    /// KVM cannot create it.
    pub fn create_logged_vm(&self, memory: &GuestMemory) -> Result<Vm, Error> {
        self.create_vm_with(memory, KVM_MEM_LOG_DIRTY_PAGES)
    }

    fn create_vm_with(&self, memory: &GuestMemory, flags: u32) -> Result<Vm, Error> {
        let fd = retry(|| self.fd.create_vm()).map_err(HostError::CreateVm)?;
        Ok(Vm::new(fd, memory, flags)?)
    }
}

/// Repeats a call that a signal interrupts, a few times.
fn retry<T>(mut call: impl FnMut() -> Result<T, errno::Error>) -> Result<T, errno::Error> {
    for _ in 0..16 {
        match call() {
            Err(error) if error.errno() == libc::EINTR => {}
            other => return other,
        }
    }
    call()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_kvm_is_refused_with_the_reason() {
        assert!(matches!(Kvm::open_at(Path::new("/nonexistent/kvm")), Err(HostError::Missing(_))));
        assert!(matches!(Kvm::open_at(Path::new("/dev/null")), Err(HostError::ApiVersion(-1))));
        let report = HostError::Permission(DEVICE.into()).report();
        assert!(report.place.contains("kvm") && report.remedy.contains("group"));
    }
}
