//! What is the same for every machine on a host.

use std::sync::OnceLock;

use kvm_bindings::CpuId;

use crate::error::{Error, VmmError};
use crate::host::cpu;
use crate::host::kvm::{CpuState, Kvm, Vcpu, Vm, host_processor};
use crate::machine::tables;

/// What is the same for every machine on a host. Facts that only a guest can reveal are probed when first
/// needed.
pub struct Model {
    cpuid: CpuId,
    /// The state of a newly created processor.
    new: OnceLock<CpuState>,
    /// Whether KVM misses it when the VMM writes a guest's page tables.
    overlooks_tables: OnceLock<bool>,
}

impl Model {
    /// The model for this host.
    pub fn of(_kvm: &Kvm) -> Result<Self, VmmError> {
        let leaves = cpu::cpuid(host_processor());
        let cpuid = CpuId::from_entries(&leaves).map_err(|_| VmmError::BadExit)?;
        Ok(Self { cpuid, new: OnceLock::new(), overlooks_tables: OnceLock::new() })
    }

    /// The processor of a VM at power-on.
    pub(super) fn vcpu(&self, vm: &Vm) -> Result<Vcpu, VmmError> {
        vm.create_vcpu(&self.cpuid)
    }

    /// The processor of `vm`, in this state.
    pub(super) fn vcpu_in(&self, vm: &Vm, state: &CpuState) -> Result<Vcpu, VmmError> {
        if let Some(new) = self.new.get() {
            return vm.create_vcpu_in(&self.cpuid, new, state);
        }
        let mut vcpu = vm.create_vcpu(&self.cpuid)?;
        let at_access = vcpu.io_pending();
        while vcpu.sync_state()?.is_some() {}
        let new = vcpu.state()?;
        vcpu.restore(state, at_access)?;
        // Another thread may have been first, with the same value.
        let _ = self.new.set(new);
        Ok(vcpu)
    }

    /// Whether translations must be flushed after the VMM has written a guest's page tables.
    pub fn overlooks_tables(&self, kvm: &Kvm) -> Result<bool, Error> {
        if let Some(known) = self.overlooks_tables.get() {
            return Ok(*known);
        }
        let found = tables::overlooked(kvm, &self.cpuid)?;
        Ok(*self.overlooks_tables.get_or_init(|| found))
    }
}
