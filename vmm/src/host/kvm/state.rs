//! The state of a processor between two instructions: saving and restoring it.
//!
//! Every call to KVM about a processor costs as much as an exit, so state is restored by as few calls as
//! possible: general registers, system registers and events travel in the area that is shared with KVM, and
//! the rest is written only where it differs. The time-stamp counter is not part of it: not every host can
//! set it back.
#![allow(unsafe_code)]

use kvm_bindings::{
    KVM_MP_STATE_RUNNABLE, Msrs, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs,
    kvm_sregs, kvm_vcpu_events, kvm_xsave,
};
use kvm_ioctls::{SyncReg, VcpuFd};
use serde::{Deserialize, Serialize};
use vmm_sys_util::errno;
use zerocopy::{Immutable, IntoBytes};

use crate::error::VmmError;
use crate::host::exit::Exit;
use crate::host::kvm::run_page::parse;
use crate::host::kvm::vcpu::Vcpu;

/// Machine-specific registers that a guest can have changed, with the processor that it is shown
/// ([`crate::host::cpu`]): those of system calls, the memory types, KVM's own. (EFER, the bases of segments
/// and the APIC's base are system registers to KVM.) Sources: Intel SDM vol. 4, AMD APM vol. 2 appendix A,
/// Linux `Documentation/virt/kvm/x86/msr.rst`.
const MSRS: [u32; 45] = [
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0102,
    0x174,
    0x175,
    0x176,
    0x277,
    0x1a0,
    0x1d9,
    0x17a,
    0x2ff,
    0x250,
    0x258,
    0x259,
    0x268,
    0x269,
    0x26a,
    0x26b,
    0x26c,
    0x26d,
    0x26e,
    0x26f,
    0x200,
    0x201,
    0x202,
    0x203,
    0x204,
    0x205,
    0x206,
    0x207,
    0x208,
    0x209,
    0x20a,
    0x20b,
    0x20c,
    0x20d,
    0x20e,
    0x20f,
    0x4b56_4d00,
    0x4b56_4d01,
    0x4b56_4d02,
    0x4b56_4d03,
    0x4b56_4d04,
];

/// The state of a processor, after the access that it stopped at.
#[derive(Serialize, Deserialize)]
pub struct CpuState {
    /// General registers.
    pub general: kvm_regs,
    /// System registers.
    pub system: kvm_sregs,
    pub(crate) events: kvm_vcpu_events,
    pub(crate) extended: Box<kvm_xsave>,
    pub(crate) debug: kvm_debugregs,
    pub(crate) apic: Box<kvm_lapic_state>,
    pub(crate) msrs: Vec<kvm_msr_entry>,
    pub(crate) activity: u32,
}

impl CpuState {
    /// Its parts as bytes, each with its name: for comparing and hashing.
    pub fn parts(&self) -> [(&'static str, &[u8]); 8] {
        [
            ("general registers", self.general.as_bytes()),
            ("system registers", self.system.as_bytes()),
            ("events", self.events.as_bytes()),
            ("extended state", self.extended.as_bytes()),
            ("debug registers", self.debug.as_bytes()),
            ("local APIC", self.apic.as_bytes()),
            ("machine-specific registers", self.msrs.as_bytes()),
            ("activity", self.activity.as_bytes()),
        ]
    }
}

impl Vcpu {
    /// Completes the access that the guest stopped at as [`Vcpu::complete_io`] does, and makes KVM publish
    /// the registers in the shared area. Call it, and handle its exits, until there is none.
    pub fn sync_state(&mut self) -> Result<Option<Exit<'_>>, VmmError> {
        for register in ON_REQUEST.into_iter().filter(|_| self.syncs) {
            self.fd.set_sync_valid_reg(register);
        }
        // What it returns must not borrow `self` yet.
        if self.enter_and_return()?.is_some() {
            return parse(self.fd.get_kvm_run(), self.shared_bytes).map(Some);
        }
        for register in ON_REQUEST {
            self.fd.clear_sync_valid_reg(register);
        }
        Ok(None)
    }

    /// Completes the access that the guest stopped at as [`Vcpu::complete_io`] does, unless it cannot affect
    /// a processor whose state is set to `to` next.
    ///
    /// To complete output, KVM advances to the next instruction, and only if the processor still is at the
    /// same address: some guests reset themselves through a port, and VMMs set their state at once (Linux
    /// `arch/x86/kvm/x86.c`, `complete_fast_pio_out`). That address is the instruction pointer only where
    /// code segments have no base, in 64-bit mode, and where no other mode can reach, above 4 GiB.
    pub fn complete_io_before(&mut self, to: &CpuState) -> Result<Option<Exit<'_>>, VmmError> {
        let upper = to.system.cs.l != 0 && to.general.rip > u64::from(u32::MAX);
        match self.at_output()? {
            Some(rip) if upper && rip != to.general.rip => Ok(None),
            _ => self.complete_io(),
        }
    }

    /// Saves its state. Call [`Vcpu::sync_state`] first.
    pub fn state(&mut self) -> Result<CpuState, VmmError> {
        let (general, system, events) = self.synced_registers()?;
        Ok(CpuState {
            general,
            system,
            events,
            extended: Box::new(self.fd.get_xsave().map_err(VmmError::ioctl("KVM_GET_XSAVE"))?),
            debug: self.fd.get_debug_regs().map_err(VmmError::ioctl("KVM_GET_DEBUGREGS"))?,
            apic: Box::new(self.fd.get_lapic().map_err(VmmError::ioctl("KVM_GET_LAPIC"))?),
            msrs: known_msrs(&self.fd)?,
            activity: self.activity()?,
        })
    }

    /// Restores a state that [`Vcpu::state`] returned, of this processor or of one like it. Call
    /// [`Vcpu::complete_io_before`] or [`Vcpu::sync_state`] first; `stopped_at_access` says whether there was
    /// an access to complete, because such a processor is runnable for certain.
    pub fn restore(&mut self, to: &CpuState, stopped_at_access: bool) -> Result<(), VmmError> {
        // KVM interprets the local APIC's state by its mode, which is part of the system registers.
        if self.fd.get_kvm_run().apic_base != to.system.apic_base {
            self.set_sregs(&to.system)?;
        }
        let extended = self.fd.get_xsave().map_err(VmmError::ioctl("KVM_GET_XSAVE"))?;
        if differ(&extended, &*to.extended) {
            self.set_extended(&to.extended)?;
        }
        let debug = self.fd.get_debug_regs().map_err(VmmError::ioctl("KVM_GET_DEBUGREGS"))?;
        if differ(&debug, &to.debug) {
            self.fd.set_debug_regs(&to.debug).map_err(VmmError::ioctl("KVM_SET_DEBUGREGS"))?;
        }
        let apic = self.fd.get_lapic().map_err(VmmError::ioctl("KVM_GET_LAPIC"))?;
        if differ(&apic, &*to.apic) {
            self.fd.set_lapic(&to.apic).map_err(VmmError::ioctl("KVM_SET_LAPIC"))?;
        }
        self.restore_msrs(&to.msrs)?;
        let activity = if stopped_at_access { KVM_MP_STATE_RUNNABLE } else { self.activity()? };
        if activity != to.activity {
            self.set_activity(to.activity)?;
        }
        self.set_synced_registers(to)
    }

    /// Sets the state of a new processor; `new` is the state of every new processor.
    pub(super) fn set_initial_state(&mut self, new: &CpuState, to: &CpuState) -> Result<(), VmmError> {
        if new.system.apic_base != to.system.apic_base {
            self.set_sregs(&to.system)?;
        }
        if differ(&*new.extended, &*to.extended) {
            self.set_extended(&to.extended)?;
        }
        if differ(&new.debug, &to.debug) {
            self.fd.set_debug_regs(&to.debug).map_err(VmmError::ioctl("KVM_SET_DEBUGREGS"))?;
        }
        // Always: without this, KVM drops NMIs silently.
        self.fd.set_lapic(&to.apic).map_err(VmmError::ioctl("KVM_SET_LAPIC"))?;
        self.set_msrs(&new.msrs, &to.msrs)?;
        if new.activity != to.activity {
            self.set_activity(to.activity)?;
        }
        self.set_synced_registers(to)
    }

    /// The registers as KVM has published them at the last [`Vcpu::sync_state`].
    fn synced_registers(&self) -> Result<(kvm_regs, kvm_sregs, kvm_vcpu_events), VmmError> {
        if self.syncs {
            let told = self.fd.sync_regs();
            return Ok((told.regs, told.sregs, told.events));
        }
        let events = self.fd.get_vcpu_events().map_err(VmmError::ioctl("KVM_GET_VCPU_EVENTS"))?;
        Ok((self.regs()?, self.sregs()?, events))
    }

    /// Makes KVM load these registers before it next runs the guest.
    fn set_synced_registers(&mut self, to: &CpuState) -> Result<(), VmmError> {
        if self.syncs {
            let area = self.fd.sync_regs_mut();
            (area.regs, area.sregs, area.events) = (to.general, to.system, to.events);
            for register in SYNCED {
                self.fd.set_sync_dirty_reg(register);
            }
            self.unsynced = true;
            return Ok(());
        }
        self.set_sregs(&to.system)?;
        self.set_regs(&to.general)?;
        self.fd.set_vcpu_events(&to.events).map_err(VmmError::ioctl("KVM_SET_VCPU_EVENTS"))
    }

    fn activity(&self) -> Result<u32, VmmError> {
        let state = self.fd.get_mp_state().map_err(VmmError::ioctl("KVM_GET_MP_STATE"))?;
        Ok(state.mp_state)
    }

    fn set_activity(&self, mp_state: u32) -> Result<(), VmmError> {
        self.fd.set_mp_state(kvm_mp_state { mp_state }).map_err(VmmError::ioctl("KVM_SET_MP_STATE"))
    }

    fn set_extended(&self, extended: &kvm_xsave) -> Result<(), VmmError> {
        // SAFETY: KVM reads no more than the structure unless a guest was given features that need more room,
        // which takes a permission that this program never asks for.
        unsafe { self.fd.set_xsave(extended) }.map_err(VmmError::ioctl("KVM_SET_XSAVE"))
    }

    fn restore_msrs(&mut self, to: &[kvm_msr_entry]) -> Result<(), VmmError> {
        let same =
            |list: &Msrs| list.as_slice().iter().map(|msr| msr.index).eq(to.iter().map(|msr| msr.index));
        let mut now = match self.msrs.take().filter(same) {
            Some(list) => list,
            None => Msrs::from_entries(to).map_err(|_| VmmError::BadExit)?,
        };
        let read = self.fd.get_msrs(&mut now).map_err(VmmError::ioctl("KVM_GET_MSRS"))?;
        self.set_msrs(&now.as_slice()[..read.min(to.len())], to)?;
        self.msrs = Some(now);
        Ok(())
    }

    /// Sets the registers that differ.
    fn set_msrs(&self, now: &[kvm_msr_entry], to: &[kvm_msr_entry]) -> Result<(), VmmError> {
        if !differ(now, to) {
            return Ok(());
        }
        let others: Vec<_> = to.iter().filter(|msr| !now.contains(msr)).copied().collect();
        if others.is_empty() {
            return Ok(());
        }
        let list = Msrs::from_entries(&others).map_err(|_| VmmError::BadExit)?;
        match self.fd.set_msrs(&list).map_err(VmmError::ioctl("KVM_SET_MSRS"))? {
            set if set == others.len() => Ok(()),
            _ => Err(VmmError::Ioctl { call: "KVM_SET_MSRS", error: errno::Error::new(libc::EINVAL) }),
        }
    }
}

/// The registers that are exchanged in the shared area.
const SYNCED: [SyncReg; 3] = [SyncReg::Register, SyncReg::SystemRegister, SyncReg::VcpuEvents];
/// Those of them that KVM publishes only on request, because it costs more.
const ON_REQUEST: [SyncReg; 2] = [SyncReg::SystemRegister, SyncReg::VcpuEvents];

fn differ<T: IntoBytes + Immutable + ?Sized>(one: &T, other: &T) -> bool {
    let (one, rest) = one.as_bytes().as_chunks::<32>();
    let (other, other_rest) = other.as_bytes().as_chunks::<32>();
    // In chunks: not every C library compares more than one byte at a time.
    one.len() != other.len() || one.iter().zip(other).any(|(one, other)| one != other) || rest != other_rest
}

/// The registers of [`MSRS`] that this host has.
fn known_msrs(fd: &VcpuFd) -> Result<Vec<kvm_msr_entry>, VmmError> {
    let all = read_msrs(fd, MSRS.into_iter())?;
    if all.len() == MSRS.len() {
        return Ok(all);
    }
    // KVM stops at the first one that it does not know.
    let each = MSRS.into_iter().map(|index| read_msrs(fd, std::iter::once(index)));
    each.collect::<Result<Vec<_>, _>>().map(|lists| lists.concat())
}

fn read_msrs(fd: &VcpuFd, indices: impl Iterator<Item = u32>) -> Result<Vec<kvm_msr_entry>, VmmError> {
    let wanted: Vec<_> = indices.map(|index| kvm_msr_entry { index, ..Default::default() }).collect();
    let mut list = Msrs::from_entries(&wanted).map_err(|_| VmmError::BadExit)?;
    let read = fd.get_msrs(&mut list).map_err(VmmError::ioctl("KVM_GET_MSRS"))?;
    Ok(list.as_slice()[..read.min(wanted.len())].to_vec())
}
