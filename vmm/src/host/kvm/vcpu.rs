//! The processor of a VM: running it, completing its accesses, its registers.
//!
//! Two rules come from measured hosts: a vCPU whose local APIC was never set loses its NMIs, and after a port
//! or MMIO access the state is complete only when [`Vcpu::complete_io`] says so.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::FromRawFd;

use abi::{GuestPhys, GuestVirt};
use kvm_bindings::{
    KVM_EXIT_IO, KVM_EXIT_MMIO, KVM_SYNC_X86_EVENTS, KVM_SYNC_X86_REGS, KVM_SYNC_X86_SREGS, Msrs, kvm_regs,
    kvm_sregs,
};
use kvm_ioctls::{Cap, SyncReg, VcpuFd, VmFd};
use vmm_sys_util::ioctl::ioctl;

use crate::error::VmmError;
use crate::host::exit::Exit;
use crate::host::kvm::run_page::parse;

/// Calls that `kvm-ioctls` does not have.
mod calls {
    vmm_sys_util::ioctl_io_nr!(KVM_GET_STATS_FD, kvm_bindings::KVMIO, 0xce);
}

/// The processor of a guest.
pub struct Vcpu {
    pub(super) fd: VcpuFd,
    /// Length of the area that KVM shares with us.
    pub(super) shared_bytes: usize,
    /// The last exit was an access that has not changed the registers yet.
    io_pending: bool,
    /// The shared area has registers that KVM loads when it next runs the guest.
    pub(super) unsynced: bool,
    /// KVM can exchange registers in the shared area. It publishes general registers at each exit.
    pub(super) syncs: bool,
    /// A list for reading machine-specific registers, kept for its allocation.
    pub(super) msrs: Option<Msrs>,
}

impl Vcpu {
    pub(super) fn new(fd: VcpuFd, vm: &VmFd) -> Self {
        let all = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
        let syncs = vm.check_extension_int(Cap::SyncRegs) as u32 & all == all;
        let shared_bytes = vm.run_size();
        let mut vcpu = Self { fd, shared_bytes, io_pending: false, unsynced: false, syncs, msrs: None };
        if syncs {
            vcpu.fd.set_sync_valid_reg(SyncReg::Register);
        }
        vcpu
    }

    /// Runs the guest until it exits. [`Exit::Interrupted`] if a signal came first.
    pub fn run(&mut self) -> Result<Exit<'_>, VmmError> {
        self.io_pending = false;
        self.unsynced = false;
        match self.fd.run() {
            Ok(_) => {}
            Err(error) if error.errno() == libc::EINTR => return Ok(Exit::Interrupted),
            Err(error) => return Err(VmmError::Ioctl { call: "KVM_RUN", error }),
        }
        let reason = self.fd.get_kvm_run().exit_reason;
        self.io_pending = matches!(reason, KVM_EXIT_IO | KVM_EXIT_MMIO);
        parse(self.fd.get_kvm_run(), self.shared_bytes)
    }

    /// Makes KVM complete the access of the last exit without running the guest. The rest of a string
    /// instruction is another exit: handle it and call again, until there is none. After that the registers
    /// are current.
    pub fn complete_io(&mut self) -> Result<Option<Exit<'_>>, VmmError> {
        if !self.io_pending && !self.unsynced {
            return Ok(None);
        }
        self.enter_and_return()
    }

    /// Makes KVM do what it does before and after it runs the guest, and only that.
    pub(super) fn enter_and_return(&mut self) -> Result<Option<Exit<'_>>, VmmError> {
        self.fd.set_kvm_immediate_exit(1);
        let outcome = self.fd.run().map(|_| ());
        self.fd.set_kvm_immediate_exit(0);
        self.unsynced = false;
        match outcome {
            Ok(()) => parse(self.fd.get_kvm_run(), self.shared_bytes).map(Some),
            Err(error) if error.errno() == libc::EINTR => {
                self.io_pending = false;
                Ok(None)
            }
            Err(error) => Err(VmmError::Ioctl { call: "KVM_RUN", error }),
        }
    }

    /// Whether [`Vcpu::complete_io`] has something to do.
    pub fn io_pending(&self) -> bool {
        self.io_pending
    }

    /// The instruction pointer, if the only thing to complete is output.
    pub(super) fn at_output(&mut self) -> Result<Option<u64>, VmmError> {
        if !self.syncs || !self.io_pending || self.unsynced {
            return Ok(None);
        }
        let output = matches!(parse(self.fd.get_kvm_run(), self.shared_bytes)?, Exit::PortOut { .. });
        Ok(output.then(|| self.fd.sync_regs().regs.rip))
    }

    /// Raises the non-maskable interrupt, as a watchdog card does.
    pub fn nmi(&self) -> Result<(), VmmError> {
        self.fd.nmi().map_err(VmmError::ioctl("KVM_NMI"))
    }

    /// General registers. Complete pending accesses first.
    pub fn regs(&self) -> Result<kvm_regs, VmmError> {
        self.fd.get_regs().map_err(VmmError::ioctl("KVM_GET_REGS"))
    }

    /// Sets the general registers. Complete pending accesses first.
    pub fn set_regs(&self, regs: &kvm_regs) -> Result<(), VmmError> {
        self.fd.set_regs(regs).map_err(VmmError::ioctl("KVM_SET_REGS"))
    }

    /// System registers. Complete pending accesses first.
    pub fn sregs(&self) -> Result<kvm_sregs, VmmError> {
        self.fd.get_sregs().map_err(VmmError::ioctl("KVM_GET_SREGS"))
    }

    /// Sets the system registers. Complete pending accesses first.
    pub fn set_sregs(&mut self, sregs: &kvm_sregs) -> Result<(), VmmError> {
        self.fd.set_sregs(sregs).map_err(VmmError::ioctl("KVM_SET_SREGS"))?;
        // KVM updates this field at exits only.
        self.fd.get_kvm_run().apic_base = sregs.apic_base;
        Ok(())
    }

    /// Where the guest's own page tables lead from this address, as KVM sees it.
    pub fn translate(&self, at: GuestVirt) -> Option<GuestPhys> {
        let found = self.fd.translate_gva(at.0).ok()?;
        (found.valid != 0).then_some(GuestPhys(found.physical_address))
    }

    /// KVM's own counters of this processor, in the format of `KVM_GET_STATS_FD`; `None` where KVM has none.
    pub fn statistics(&self) -> Option<File> {
        // SAFETY: the call takes no argument and gives a new descriptor, or a negative number.
        let fd = unsafe { ioctl(&self.fd, calls::KVM_GET_STATS_FD()) };
        // SAFETY: the descriptor is valid, and new, so nothing else owns it.
        (fd >= 0).then(|| unsafe { File::from_raw_fd(fd) })
    }
}
