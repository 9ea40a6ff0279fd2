//! A VM without its processor: memory slots, the interrupt controller, the log of written frames.
//!
//! The order of creation decides the start-up time: memory slots first, then the interrupt controller, then the vCPU.
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

/// Where a host without unrestricted guests keeps a page table of its own: below the last 64 KiB under 4 GiB, which
/// no memory slot of ours uses (Linux `Documentation/virt/kvm/api.rst`, `KVM_SET_IDENTITY_MAP_ADDR`).
const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages right behind it, for the same hosts (`KVM_SET_TSS_ADDR`).
const TASK_SEGMENT: usize = 0xfffb_d000;

/// The slot that is only there to be moved; behind those of memory.
const SPARE_SLOT: u32 = 7;
/// Where it is: behind the task segment, where no guest of ours is told of memory.
const SPARE_SLOT_AT: u64 = 0xfffc_2000;

/// A guest without its processor. It keeps its memory mapped as long as it lives.
pub struct Vm {
    fd: VmFd,
    memory: GuestMemory,
    /// What was written since [`Vm::forget_written`], as far as it was asked for.
    written: Changed,
    /// The slot that is moved to and fro, where it is now, and its page.
    spare_slot: Option<(u64, GuestMemory)>,
}

impl Vm {
    /// Registers the memory with KVM and creates the interrupt controller. `flags` are those of the memory slots.
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

    /// From now on KVM notes which frames the guest writes, if it does not yet. To be called before it runs: afterwards
    /// it takes KVM longer.
    pub fn log_writes(&self) -> Result<(), VmmError> {
        self.set_memory(&self.memory, KVM_MEM_LOG_DIRTY_PAGES)
    }

    /// Adds the frames that were written since the last call: by the guest, as KVM has logged them, and by ourselves.
    /// Everything, where KVM keeps no log.
    pub fn take_written(&mut self, changed: &mut Changed) {
        self.collect_written(&mut [changed]);
    }

    /// Brings `written` up to date, and those who also want to know.
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

    /// What was written so far is of no interest any more.
    pub fn forget_written(&mut self) {
        self.collect_written(&mut []);
        self.written.clear();
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Puts memory back to what `backing` holds: the frames that were written if it began with that and `began` says so,
    /// else all of it. With `tables` it also says whether page tables may be others now than KVM has seen.
    pub fn restore_memory(&mut self, backing: &Backing, began: bool, tables: bool) -> Result<bool, Error> {
        self.collect_written(&mut []);
        let mut changed = tables;
        if began && !self.written.is_everything() {
            changed = false;
            for frame in self.written.frames() {
                // The log has no frames but those of memory.
                changed |= self.memory.restore_frame(frame, backing, tables && !changed).unwrap_or(tables);
            }
        } else {
            self.memory.restore_all(backing)?;
        }
        self.written.clear();
        Ok(changed)
    }

    /// Has KVM and the processor forget every translation of the guest's, after somebody else than the guest has written
    /// its page tables: where KVM shadows them it has not seen that, and where the processor walks them it may have old
    /// entries in its TLB. A slot that moves does that (Linux `kvm_arch_flush_shadow_memslot`); one of a single page costs
    /// least.
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

    /// A local APIC in the kernel and nothing else, where KVM can do that; else the whole set of a PC.
    fn create_interrupt_controller(&self) -> Result<(), VmmError> {
        if self.fd.check_extension(Cap::SplitIrqchip) {
            let split = kvm_enable_cap { cap: KVM_CAP_SPLIT_IRQCHIP, ..Default::default() };
            self.fd.enable_cap(&split).map_err(VmmError::ioctl("KVM_ENABLE_CAP(KVM_CAP_SPLIT_IRQCHIP)"))
        } else {
            self.fd.create_irq_chip().map_err(VmmError::ioctl("KVM_CREATE_IRQCHIP"))
        }
    }

    /// Tells Intel processors without unrestricted guests where KVM may put its own pages. Others do not care.
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

    /// The guest's processor. There is one.
    pub fn create_vcpu(&self, cpuid: &CpuId) -> Result<Vcpu, VmmError> {
        let fd = self.fd.create_vcpu(0).map_err(VmmError::ioctl("KVM_CREATE_VCPU"))?;
        fd.set_cpuid2(cpuid).map_err(VmmError::ioctl("KVM_SET_CPUID2"))?;
        // Without this, an NMI is dropped without a word.
        let lapic = fd.get_lapic().map_err(VmmError::ioctl("KVM_GET_LAPIC"))?;
        fd.set_lapic(&lapic).map_err(VmmError::ioctl("KVM_SET_LAPIC"))?;
        Ok(Vcpu::new(fd, &self.fd))
    }

    /// The processor of a guest that begins in a state that was kept; `new` is that of every new processor.
    pub fn create_vcpu_in(&self, cpuid: &CpuId, new: &CpuState, state: &CpuState) -> Result<Vcpu, VmmError> {
        let fd = self.fd.create_vcpu(0).map_err(VmmError::ioctl("KVM_CREATE_VCPU"))?;
        fd.set_cpuid2(cpuid).map_err(VmmError::ioctl("KVM_SET_CPUID2"))?;
        let mut vcpu = Vcpu::new(fd, &self.fd);
        vcpu.set_initial_state(new, state)?;
        Ok(vcpu)
    }
}
