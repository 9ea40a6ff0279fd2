//! A VM without its processor: memory slots, the interrupt controller, the log of written frames.
//!
//! The order of creation decides the start-up time: memory slots first, then the interrupt controller, then
//! the vCPU.
#![allow(unsafe_code)]

use abi::layout::PAGE_SIZE;
use introspect::Changed;
use kvm_bindings::{
    CpuId, KVM_CAP_SPLIT_IRQCHIP, KVM_MEM_LOG_DIRTY_PAGES, kvm_enable_cap, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, VmFd};

use crate::error::{Error, VmmError};
use crate::host::kvm::state::CpuState;
use crate::host::kvm::vcpu::Vcpu;
use crate::host::memory::{Backing, GuestMemory};

/// Where a host without unrestricted guests keeps a page table of its own: below the last 64 KiB under 4 GiB,
/// which no memory slot of ours uses (Linux `Documentation/virt/kvm/api.rst`, `KVM_SET_IDENTITY_MAP_ADDR`).
const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages right behind it, for the same hosts (`KVM_SET_TSS_ADDR`).
const TASK_SEGMENT: usize = 0xfffb_d000;

/// A slot that exists only to be moved; its number is above those of memory.
const SPARE_SLOT: u32 = 7;
/// Its address: after the task segment, where the memory map of no guest has memory.
const SPARE_SLOT_AT: u64 = 0xfffc_2000;

/// A VM without its processor. It keeps its memory mapped as long as it lives.
pub struct Vm {
    fd: VmFd,
    memory: GuestMemory,
    /// The frames written since [`Vm::forget_written`], as far as they have been collected.
    written: Changed,
    /// The spare slot: its present address, and its page.
    spare_slot: Option<(u64, GuestMemory)>,
}

impl Vm {
    /// Registers the memory with KVM and creates the interrupt controller. `flags` are those of the memory
    /// slots.
    pub(super) fn new(fd: VmFd, memory: &GuestMemory, flags: u32) -> Result<Self, VmmError> {
        let vm = Self { fd, memory: memory.clone(), written: Changed::nothing(), spare_slot: None };
        vm.set_memory(memory, flags)?;
        vm.create_interrupt_controller()?;
        vm.reserve_host_pages()?;
        Ok(vm)
    }

    fn set_memory(&self, memory: &GuestMemory, flags: u32) -> Result<(), VmmError> {
        for (slot, (region, host_address)) in memory.mappings().enumerate() {
            let region = kvm_userspace_memory_region {
                slot: slot as u32,
                flags,
                guest_phys_addr: region.start.0,
                memory_size: region.bytes,
                userspace_addr: host_address,
            };
            // SAFETY: the slot covers a mapping of `memory` exactly, and `self` keeps that mapped until its
            // descriptor, and with it the slot, is gone: fields are dropped in order, `fd` before `memory`.
            unsafe { self.fd.set_user_memory_region(region) }
                .map_err(VmmError::ioctl("KVM_SET_USER_MEMORY_REGION"))?;
        }
        Ok(())
    }

    /// Makes KVM log which frames the guest writes, if it does not do so yet. Call it before the guest runs:
    /// KVM takes longer afterwards.
    pub fn log_writes(&self) -> Result<(), VmmError> {
        self.set_memory(&self.memory, KVM_MEM_LOG_DIRTY_PAGES)
    }

    /// Adds the frames that were written since the last call: by the guest, from KVM's log, and by the VMM.
    /// Adds everything where KVM keeps no log.
    pub fn take_written(&mut self, changed: &mut Changed) {
        self.collect_written(&mut [changed]);
    }

    /// Brings `written` up to date, and `others` with it.
    fn collect_written(&mut self, others: &mut [&mut Changed]) {
        let Self { fd, memory, written, .. } = self;
        let mut add = |first, words: &[u64]| {
            written.add_words(first, words);
            others.iter_mut().for_each(|other| other.add_words(first, words));
        };
        memory.drain_written(&mut add);
        let mut logged = true;
        for (slot, region) in memory.regions().enumerate() {
            match fd.get_dirty_log(slot as u32, region.bytes as usize) {
                Ok(words) => add(region.start.frame(), &words),
                Err(_) => logged = false,
            }
        }
        if !logged {
            written.add_everything();
            others.iter_mut().for_each(|other| other.add_everything());
        }
    }

    /// Forgets which frames were written so far.
    pub fn forget_written(&mut self) {
        self.collect_written(&mut []);
        self.written.clear();
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Restores memory to what `backing` holds: only the written frames if memory started from this backing
    /// (`began`), else all of it. With `tables`, returns whether page tables may now differ from those that
    /// KVM has seen.
    pub fn restore_memory(&mut self, backing: &Backing, began: bool, tables: bool) -> Result<bool, Error> {
        self.collect_written(&mut []);
        let mut changed = tables;
        if began && !self.written.is_everything() {
            changed = false;
            for frame in self.written.frames() {
                // The log has only frames that are memory, so there is no error here.
                changed |= self.memory.restore_frame(frame, backing, tables && !changed).unwrap_or(tables);
            }
        } else {
            self.memory.restore_all(backing)?;
        }
        self.written.clear();
        Ok(changed)
    }

    /// Makes KVM and the processor discard all translations of the guest, after the VMM has written its page
    /// tables: where KVM shadows them it has not noticed, and where the processor walks them its TLB may hold
    /// old entries. Moving a slot has this effect (Linux `kvm_arch_flush_shadow_memslot`); a slot of one page
    /// is the cheapest.
    pub fn flush_translations(&mut self) -> Result<(), Error> {
        let (at, page) = match self.spare_slot.take() {
            Some(slot) => slot,
            None => {
                let page = GuestMemory::one_page()?;
                self.set_spare_slot(SPARE_SLOT_AT, &page)?;
                (SPARE_SLOT_AT, page)
            }
        };
        let at = at ^ PAGE_SIZE;
        let moved = self.set_spare_slot(at, &page);
        self.spare_slot = Some((at, page));
        moved.map_err(Error::from)
    }

    fn set_spare_slot(&self, at: u64, page: &GuestMemory) -> Result<(), VmmError> {
        let Some((_, host_address)) = page.mappings().next() else { return Ok(()) };
        let region = kvm_userspace_memory_region {
            slot: SPARE_SLOT,
            flags: 0,
            guest_phys_addr: at,
            memory_size: PAGE_SIZE,
            userspace_addr: host_address,
        };
        // SAFETY: the page is mapped, and `self` keeps it as long as the slot; see `set_memory`.
        unsafe { self.fd.set_user_memory_region(region) }
            .map_err(VmmError::ioctl("KVM_SET_USER_MEMORY_REGION"))
    }

    /// Creates a local APIC in KVM and nothing else, where KVM can do that; else all interrupt controllers of
    /// a PC.
    fn create_interrupt_controller(&self) -> Result<(), VmmError> {
        if self.fd.check_extension(Cap::SplitIrqchip) {
            let split = kvm_enable_cap { cap: KVM_CAP_SPLIT_IRQCHIP, ..Default::default() };
            self.fd.enable_cap(&split).map_err(VmmError::ioctl("KVM_ENABLE_CAP(KVM_CAP_SPLIT_IRQCHIP)"))
        } else {
            self.fd.create_irq_chip().map_err(VmmError::ioctl("KVM_CREATE_IRQCHIP"))
        }
    }

    /// Tells KVM where it may put its own pages; only Intel processors without unrestricted guests need them.
    fn reserve_host_pages(&self) -> Result<(), VmmError> {
        if self.fd.check_extension(Cap::SetIdentityMapAddr) {
            self.fd
                .set_identity_map_address(IDENTITY_MAP)
                .map_err(VmmError::ioctl("KVM_SET_IDENTITY_MAP_ADDR"))?;
        }
        if self.fd.check_extension(Cap::SetTssAddr) {
            self.fd.set_tss_address(TASK_SEGMENT).map_err(VmmError::ioctl("KVM_SET_TSS_ADDR"))?;
        }
        Ok(())
    }

    /// Creates the VM's only processor.
    pub fn create_vcpu(&self, cpuid: &CpuId) -> Result<Vcpu, VmmError> {
        let fd = self.fd.create_vcpu(0).map_err(VmmError::ioctl("KVM_CREATE_VCPU"))?;
        fd.set_cpuid2(cpuid).map_err(VmmError::ioctl("KVM_SET_CPUID2"))?;
        // Without this, KVM drops NMIs silently.
        let lapic = fd.get_lapic().map_err(VmmError::ioctl("KVM_GET_LAPIC"))?;
        fd.set_lapic(&lapic).map_err(VmmError::ioctl("KVM_SET_LAPIC"))?;
        Ok(Vcpu::new(fd, &self.fd))
    }

    /// Creates the processor in a saved state; `new` is the state of every new processor.
    pub fn create_vcpu_in(&self, cpuid: &CpuId, new: &CpuState, state: &CpuState) -> Result<Vcpu, VmmError> {
        let fd = self.fd.create_vcpu(0).map_err(VmmError::ioctl("KVM_CREATE_VCPU"))?;
        fd.set_cpuid2(cpuid).map_err(VmmError::ioctl("KVM_SET_CPUID2"))?;
        let mut vcpu = Vcpu::new(fd, &self.fd);
        vcpu.set_initial_state(new, state)?;
        Ok(vcpu)
    }
}
