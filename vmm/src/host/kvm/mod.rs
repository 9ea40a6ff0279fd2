//! KVM: the one part of the VMM that talks to `/dev/kvm`. But for guest memory, only here `unsafe` is allowed.
//!
//! [`Kvm`] is the device, [`Vm`] a guest without its processor, [`Vcpu`] the processor. A vCPU gives its exits as
//! [`Exit`], read once from the page that KVM shares with us. Everything here is mechanism: what an exit means is
//! decided elsewhere.
//!
//! The order of creation decides the start-up time (memory slots first, then the interrupt controller, then the
//! vCPU), and two rules come from measured hosts: a vCPU whose local APIC was never set loses its NMIs, and after an
//! access by port or MMIO the state is complete only when [`Vcpu::complete_io`] says so.
#![allow(unsafe_code)]

use std::arch::x86_64::__cpuid;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::path::Path;

use abi::layout::PAGE_SIZE;
use abi::{GuestPhys, GuestVirt};
use introspect::Changed;
use kvm_bindings::{
    CpuId, KVM_CAP_BINARY_STATS_FD, KVM_CAP_SPLIT_IRQCHIP, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT,
    KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_IO_IN, KVM_EXIT_MMIO, KVM_EXIT_SHUTDOWN,
    KVM_EXIT_SYSTEM_EVENT, KVM_INTERNAL_ERROR_EMULATION, KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES,
    KVM_MAX_CPUID_ENTRIES, KVM_MEM_LOG_DIRTY_PAGES, KVM_SYNC_X86_EVENTS, KVM_SYNC_X86_REGS,
    KVM_SYNC_X86_SREGS, Msrs, kvm_enable_cap, kvm_regs, kvm_run, kvm_sregs, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, SyncReg, VcpuFd, VmFd};
use vmm_sys_util::errno;
use vmm_sys_util::ioctl::ioctl;

use crate::error::VmmError;
use crate::host::cpu::HostProcessor;
pub use crate::host::error::HostError;
use crate::host::exit::{Exit, InstructionBytes, InternalError};
use crate::host::memory::{Backing, GuestMemory};
pub use kick::{Alarm, KickTarget};
pub use state::CpuState;

mod kick;
mod state;

/// Calls that `kvm-ioctls` does not have.
mod calls {
    vmm_sys_util::ioctl_io_nr!(KVM_GET_STATS_FD, kvm_bindings::KVMIO, 0xce);
}

/// The device.
pub const DEVICE: &str = "/dev/kvm";
/// The only version of the KVM API that there has been since 2007.
pub const API_VERSION: i32 = 12;

/// Where a host without unrestricted guests keeps a page table of its own: below the last 64 KiB under 4 GiB, which
/// no memory slot of ours uses (Linux `Documentation/virt/kvm/api.rst`, `KVM_SET_IDENTITY_MAP_ADDR`).
const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages right behind it, for the same hosts (`KVM_SET_TSS_ADDR`).
const TASK_SEGMENT: usize = 0xfffb_d000;

/// The slot that is only there to be moved; behind those of memory.
const SPARE_SLOT: u32 = 7;
/// Where it is: behind the task segment, where no guest of ours is told of memory.
const SPARE_SLOT_AT: u64 = 0xfffc_2000;

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
    pub fn open() -> Result<Self, HostError> {
        Self::open_at(Path::new(DEVICE))
    }

    /// The same for another path.
    pub fn open_at(path: &Path) -> Result<Self, HostError> {
        let kvm = Self::open_unchecked(path)?;
        match NEEDED.iter().find(|(capability, _)| kvm.capability(*capability) <= 0) {
            Some((_, name)) => Err(HostError::Capability(name)),
            None => Ok(kvm),
        }
    }

    /// Opens the device and checks its version only: for `doctor`, which wants to see all that is missing.
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

    /// A new guest with this memory and a local APIC, but no other interrupt controller and no timer chips.
    pub fn create_vm(&self, memory: &GuestMemory) -> Result<Vm, crate::Error> {
        self.create_vm_with(memory, 0)
    }

    /// The same, and KVM notes from the beginning which frames the guest writes.
    pub fn create_logged_vm(&self, memory: &GuestMemory) -> Result<Vm, crate::Error> {
        self.create_vm_with(memory, KVM_MEM_LOG_DIRTY_PAGES)
    }

    fn create_vm_with(&self, memory: &GuestMemory, flags: u32) -> Result<Vm, crate::Error> {
        let fd = retry(|| self.fd.create_vm()).map_err(HostError::CreateVm)?;
        let vm = Vm { fd, memory: memory.clone(), written: Changed::nothing(), spare_slot: None };
        vm.set_memory(memory, flags)?;
        vm.create_interrupt_controller()?;
        vm.reserve_host_pages()?;
        Ok(vm)
    }
}

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
        self.gather_written(&mut [changed]);
    }

    /// Brings `written` up to date, and those who also want to know.
    fn gather_written(&mut self, others: &mut [&mut Changed]) {
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
        self.gather_written(&mut []);
        self.written.clear();
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Puts memory back to what `backing` holds: the frames that were written if it began with that and `began` says so,
    /// else all of it. With `tables` it also says whether page tables may be others now than KVM has seen.
    pub fn put_back(&mut self, backing: &Backing, began: bool, tables: bool) -> Result<bool, crate::Error> {
        self.gather_written(&mut []);
        let mut changed = tables;
        if began && !self.written.is_everything() {
            changed = false;
            for frame in self.written.frames() {
                // The log has no frames but those of memory.
                changed |= self.memory.put_back(frame, backing, tables && !changed).unwrap_or(tables);
            }
        } else {
            self.memory.map_again(backing)?;
        }
        self.written.clear();
        Ok(changed)
    }

    /// Has KVM and the processor forget every translation of the guest's, after somebody else than the guest has written
    /// its page tables: where KVM shadows them it has not seen that, and where the processor walks them it may have old
    /// entries in its TLB. A slot that moves does that (Linux `kvm_arch_flush_shadow_memslot`); one of a single page costs
    /// least.
    pub fn flush_translations(&mut self) -> Result<(), crate::Error> {
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
        moved.map_err(crate::Error::from)
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
        Ok(Vcpu::new(fd, self))
    }

    /// The processor of a guest that begins in a state that was kept; `new` is that of every new processor.
    pub fn create_vcpu_in(&self, cpuid: &CpuId, new: &CpuState, state: &CpuState) -> Result<Vcpu, VmmError> {
        let fd = self.fd.create_vcpu(0).map_err(VmmError::ioctl("KVM_CREATE_VCPU"))?;
        fd.set_cpuid2(cpuid).map_err(VmmError::ioctl("KVM_SET_CPUID2"))?;
        let mut vcpu = Vcpu::new(fd, self);
        vcpu.begin(new, state)?;
        Ok(vcpu)
    }
}

/// The processor of a guest.
pub struct Vcpu {
    fd: VcpuFd,
    /// Length of the area that KVM shares with us.
    shared_bytes: usize,
    /// The last exit was an access whose effect on the registers is still to come.
    io_pending: bool,
    /// Registers wait in the shared area for KVM to take them when it next runs the guest.
    unsynced: bool,
    /// KVM can give and take registers in the shared area. General registers it gives at each exit.
    syncs: bool,
    /// A list to be filled with machine-specific registers, kept for its memory.
    msrs: Option<Msrs>,
}

impl Vcpu {
    fn new(fd: VcpuFd, vm: &Vm) -> Self {
        let all = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
        let syncs = vm.fd.check_extension_int(Cap::SyncRegs) as u32 & all == all;
        let shared_bytes = vm.fd.run_size();
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

    /// Lets KVM finish the access of the last exit without running the guest on. The rest of a string instruction
    /// comes as another exit: handle it and call again, until there is none. After that the registers are true.
    pub fn complete_io(&mut self) -> Result<Option<Exit<'_>>, VmmError> {
        if !self.io_pending && !self.unsynced {
            return Ok(None);
        }
        self.enter_and_return()
    }

    /// Lets KVM do what it does before and after it runs the guest, and only that.
    fn enter_and_return(&mut self) -> Result<Option<Exit<'_>>, VmmError> {
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

    /// Where the guest was, as KVM has told, if output is all that may still be finished.
    fn at_output(&mut self) -> Result<Option<u64>, VmmError> {
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
        // As KVM tells it at each exit, and not here.
        self.fd.get_kvm_run().apic_base = sregs.apic_base;
        Ok(())
    }

    /// Where the guest's own page tables lead from this address, as KVM sees it.
    pub fn translate(&self, at: GuestVirt) -> Option<GuestPhys> {
        let found = self.fd.translate_gva(at.0).ok()?;
        (found.valid != 0).then_some(GuestPhys(found.physical_address))
    }

    /// KVM's own counters of this processor, in the format of `KVM_GET_STATS_FD`; `None` where KVM has none.
    pub fn statistics(&self, kvm: &Kvm) -> Option<File> {
        if kvm.capability_by_number(KVM_CAP_BINARY_STATS_FD) <= 0 {
            return None;
        }
        // SAFETY: the call takes no argument and gives a new descriptor, or a negative number.
        let fd = unsafe { ioctl(&self.fd, calls::KVM_GET_STATS_FD()) };
        // SAFETY: the descriptor is valid, and new, so nobody else owns it.
        (fd >= 0).then(|| unsafe { File::from_raw_fd(fd) })
    }
}

/// What this host's own processor says of itself.
pub fn host_processor() -> HostProcessor {
    // Older compilers call the instruction unsafe.
    #[allow(unused_unsafe)]
    let leaf = |leaf| {
        // SAFETY: every processor that runs this program has CPUID, and the instruction touches no memory.
        unsafe { __cpuid(leaf) }
    };
    let (vendor, extended) = (leaf(0), leaf(0x8000_0008));
    HostProcessor {
        vendor: [vendor.ebx, vendor.edx, vendor.ecx],
        version: leaf(1).eax,
        physical_bits: extended.eax & 0xff,
    }
}

/// Tries again while a signal gets in the way, a few times.
fn retry<T>(mut call: impl FnMut() -> Result<T, errno::Error>) -> Result<T, errno::Error> {
    for _ in 0..16 {
        match call() {
            Err(error) if error.errno() == libc::EINTR => {}
            other => return other,
        }
    }
    call()
}

/// Reads what KVM wrote about the last exit. `shared_bytes` is the length of the area that starts with `run`.
fn parse(run: &mut kvm_run, shared_bytes: usize) -> Result<Exit<'_>, VmmError> {
    Ok(match run.exit_reason {
        KVM_EXIT_IO => return parse_port(run, shared_bytes),
        KVM_EXIT_MMIO => {
            // SAFETY: the exit reason says that `mmio` is the field that KVM wrote; all its bytes are plain data.
            let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
            let len = (mmio.len as usize).min(mmio.data.len());
            let (at, data) = (GuestPhys(mmio.phys_addr), &mut mmio.data[..len]);
            if mmio.is_write != 0 { Exit::MmioWrite { at, data } } else { Exit::MmioRead { at, data } }
        }
        KVM_EXIT_HLT => Exit::Halt,
        KVM_EXIT_SHUTDOWN => Exit::Shutdown,
        KVM_EXIT_INTR => Exit::Interrupted,
        KVM_EXIT_INTERNAL_ERROR => {
            // SAFETY: the exit reason says that `internal` is the field that KVM wrote, and `emulation_failure` is
            // the same bytes with names; all of them are plain data.
            let (internal, failure) =
                unsafe { (run.__bindgen_anon_1.internal, run.__bindgen_anon_1.emulation_failure) };
            // SAFETY: a union with one member.
            let instruction = unsafe { failure.__bindgen_anon_1.__bindgen_anon_1 };
            let given = internal.suberror == KVM_INTERNAL_ERROR_EMULATION
                && internal.ndata >= 3
                && failure.flags & u64::from(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0;
            let len = if given { usize::from(instruction.insn_size).min(15) } else { 0 };
            Exit::InternalError(InternalError {
                suberror: internal.suberror,
                bytes: InstructionBytes::new(&instruction.insn_bytes[..len]),
            })
        }
        KVM_EXIT_FAIL_ENTRY => {
            // SAFETY: the exit reason says that `fail_entry` is the field that KVM wrote.
            let fail = unsafe { run.__bindgen_anon_1.fail_entry };
            Exit::FailEntry { reason: fail.hardware_entry_failure_reason }
        }
        KVM_EXIT_SYSTEM_EVENT => {
            // SAFETY: the exit reason says that `system_event` is the field that KVM wrote.
            Exit::SystemEvent(unsafe { run.__bindgen_anon_1.system_event.type_ })
        }
        other => Exit::Unknown(other),
    })
}

fn parse_port(run: &mut kvm_run, shared_bytes: usize) -> Result<Exit<'_>, VmmError> {
    // SAFETY: the exit reason says that `io` is the field that KVM wrote.
    let io = unsafe { run.__bindgen_anon_1.io };
    let bytes = usize::from(io.size) * io.count as usize;
    let offset = io.data_offset as usize;
    if io.size == 0 || offset.checked_add(bytes).is_none_or(|end| end > shared_bytes) {
        return Err(VmmError::BadExit);
    }
    // SAFETY: `run` is the start of a mapping of `shared_bytes` bytes, and the data lies inside of it, as was just
    // checked. The slice borrows `run` mutably, so nobody else looks at the mapping while it lives, and KVM writes
    // there only while it runs the guest, which needs the same borrow.
    let data = unsafe {
        let start = std::ptr::from_mut(run).cast::<u8>().add(offset);
        std::slice::from_raw_parts_mut(start, bytes)
    };
    let (port, size) = (io.port, io.size);
    Ok(if u32::from(io.direction) == KVM_EXIT_IO_IN {
        Exit::PortIn { port, size, data }
    } else {
        Exit::PortOut { port, size, data }
    })
}

#[cfg(test)]
mod tests;
