//! The processor that a guest sees: its registers at the first instruction, and CPUID.

use abi::GuestPhys;
use kvm_bindings::{kvm_cpuid_entry2, kvm_regs, kvm_segment, kvm_sregs};

/// CR0: protection enabled.
const CR0_PE: u64 = 1;
/// CR0: extension type, always set on processors of this century.
const CR0_ET: u64 = 1 << 4;
/// CR0: paging, and write protection for the kernel too.
const CR0_PAGING: u64 = 1 << 31 | 1 << 16;
/// CR4: entries of page tables have 8 bytes.
const CR4_PAE: u64 = 1 << 5;
/// EFER: long mode, enabled and active.
const EFER_LONG: u64 = 1 << 8 | 1 << 10;
/// RFLAGS: the bit that is always set.
const RFLAGS_FIXED: u64 = 2;

/// General registers at the PVH entry: RIP at the entry point, EBX at the start info, everything else zero
/// (Xen, "x86/HVM direct boot ABI").
pub fn pvh_regs(entry: GuestPhys, start_info: GuestPhys) -> kvm_regs {
    kvm_regs { rip: entry.0, rbx: start_info.0, rflags: RFLAGS_FIXED, ..Default::default() }
}

/// Puts the system registers into the state that PVH demands: 32-bit protected mode without paging, flat
/// segments, a 32-bit task segment. The rest stays as KVM has it after reset.
pub fn set_pvh_sregs(sregs: &mut kvm_sregs) {
    let flat = |type_, selector| kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl: 0,
        db: 1,
        s: 1,
        l: 0,
        g: 1,
        avl: 0,
        unusable: 0,
        padding: 0,
    };
    // Types: Intel SDM vol. 3, 3.4.5.1 and 3.5. Accessed bits are set, or the processor would want to set
    // them.
    let (code, data, busy_tss) = (0b1011, 0b0011, 0b1011);
    sregs.cs = flat(code, 0x8);
    for segment in [&mut sregs.ds, &mut sregs.es, &mut sregs.ss, &mut sregs.fs, &mut sregs.gs] {
        *segment = flat(data, 0x10);
    }
    sregs.tr = kvm_segment { limit: 0x67, s: 0, g: 0, db: 0, ..flat(busy_tss, 0) };
    sregs.cr0 = CR0_PE | CR0_ET;
    sregs.cr3 = 0;
    sregs.cr4 = 0;
    sregs.efer = 0;
}

/// From the state that PVH demands to 64-bit mode, with the page tables that begin at `root`.
pub fn set_long_mode(sregs: &mut kvm_sregs, root: GuestPhys) {
    (sregs.cr0, sregs.cr3) = (sregs.cr0 | CR0_PAGING, root.0);
    (sregs.cr4, sregs.efer) = (CR4_PAE, EFER_LONG);
    (sregs.cs.l, sregs.cs.db) = (1, 0);
}

/// What CPUID returns. It is the same on every host but for three values: the vendor and the version of the
/// processor, which say what its machine-specific registers are, and the width of physical addresses.
///
/// It is the first x86-64 processor that there was, and CMPXCHG16B, LAHF, x2APIC and KVM's clock. So no run
/// can depend on the host's processor, and no guest has more state than SSE has. It also spares the slowest
/// call of the start: asking KVM what it supports executes every CPUID leaf that there is, which traps where
/// the host is a virtual machine itself.
mod shown {
    /// Leaf 1 EDX: FPU, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE36,
    /// CLFLUSH, MMX, FXSR, SSE, SSE2.
    pub(super) const LEAF_1_EDX: u32 = 0x078b_fbfd;
    /// Leaf 1 ECX: CMPXCHG16B, x2APIC, a hypervisor is present.
    pub(super) const LEAF_1_ECX: u32 = 1 << 13 | 1 << 21 | HYPERVISOR;
    /// Leaf 1 ECX: a hypervisor is present.
    pub(super) const HYPERVISOR: u32 = 1 << 31;
    /// Leaf 1 EBX: 64 bytes in a cache line, one logical processor, APIC id 0.
    pub(super) const LEAF_1_EBX: u32 = 8 << 8 | 1 << 16;
    /// Leaf 0x8000_0001 EDX: SYSCALL, NX, long mode.
    pub(super) const LEAF_E1_EDX: u32 = 1 << 11 | 1 << 20 | 1 << 29;
    /// Leaf 0x8000_0001 ECX: LAHF in long mode.
    pub(super) const LEAF_E1_ECX: u32 = 1;
    /// Features of KVM: its clock (old and new registers, and that it is stable), no delay after port
    /// accesses.
    pub(super) const KVM_FEATURES: u32 = 1 | 1 << 1 | 1 << 3 | 1 << 24;
}

/// Width of linear addresses, with four levels of page tables.
const LINEAR_BITS: u32 = 48;
/// KVM's signature, "KVMKVMKVM".
const KVM_SIGNATURE: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x4d];

/// The host's own values that the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostProcessor {
    /// EBX, EDX and ECX of leaf 0: "GenuineIntel" and the like.
    pub vendor: [u32; 3],
    /// EAX of leaf 1: family, model, stepping.
    pub version: u32,
    /// Width of physical addresses.
    pub physical_bits: u32,
}

/// The CPUID leaves of a guest on this host.
pub fn cpuid(host: HostProcessor) -> Vec<kvm_cpuid_entry2> {
    let leaf = |function, eax, ebx, ecx, edx| kvm_cpuid_entry2 {
        function,
        eax,
        ebx,
        ecx,
        edx,
        ..Default::default()
    };
    let [vendor_b, vendor_d, vendor_c] = host.vendor;
    let [kvm_b, kvm_c, kvm_d] = KVM_SIGNATURE;
    vec![
        leaf(0, 7, vendor_b, vendor_c, vendor_d),
        leaf(1, host.version, shown::LEAF_1_EBX, shown::LEAF_1_ECX, shown::LEAF_1_EDX),
        leaf(7, 0, 0, 0, 0),
        leaf(0x4000_0000, 0x4000_0001, kvm_b, kvm_c, kvm_d),
        leaf(0x4000_0001, shown::KVM_FEATURES, 0, 0, 0),
        leaf(0x8000_0000, 0x8000_0008, vendor_b, vendor_c, vendor_d),
        leaf(0x8000_0001, 0, 0, shown::LEAF_E1_ECX, shown::LEAF_E1_EDX),
        leaf(0x8000_0008, host.physical_bits & 0xff | LINEAR_BITS << 8, 0, 0, 0),
    ]
}

/// Whether a host's KVM supports all features that guests see; `supported` is KVM's list.
pub fn is_supported(supported: &[kvm_cpuid_entry2]) -> bool {
    let all = |function: u32, ecx: u32, edx: u32| {
        supported
            .iter()
            .any(|leaf| leaf.function == function && leaf.ecx & ecx == ecx && leaf.edx & edx == edx)
    };
    // Some kernels, 6.1 among them, do not list the bit that only says that there is a hypervisor.
    all(1, shown::LEAF_1_ECX & !shown::HYPERVISOR, shown::LEAF_1_EDX)
        && all(0x8000_0001, shown::LEAF_E1_ECX, shown::LEAF_E1_EDX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_state_is_what_pvh_demands() {
        let regs = pvh_regs(GuestPhys(0x10_0020), GuestPhys(0x6000));
        assert_eq!((regs.rip, regs.rbx, regs.rflags), (0x10_0020, 0x6000, 2));
        let mut sregs = kvm_sregs { cr4: 0x20, efer: 0x500, cr3: 0x1000, ..Default::default() };
        set_pvh_sregs(&mut sregs);
        assert_eq!(sregs.cr0 & 0x8000_0001, 1, "protected mode, no paging");
        assert_eq!((sregs.cr3, sregs.cr4, sregs.efer), (0, 0, 0));
        for segment in [sregs.cs, sregs.ds, sregs.es, sregs.ss] {
            assert_eq!(
                (segment.base, segment.limit, segment.g, segment.db, segment.l),
                (0, u32::MAX, 1, 1, 0)
            );
        }
        assert_eq!((sregs.cs.type_ & 0b1010, sregs.ss.type_ & 0b1010), (0b1010, 0b0010));
        assert_eq!((sregs.tr.base, sregs.tr.limit, sregs.tr.type_, sregs.tr.s), (0, 0x67, 0b1011, 0));
    }

    #[test]
    fn what_differs_between_hosts_or_runs_is_not_shown() {
        let host = HostProcessor { vendor: [1, 2, 3], version: 0xc_06f2, physical_bits: 57 };
        let leaves = cpuid(host);
        let leaf = |function| leaves.iter().find(|leaf| leaf.function == function).unwrap();
        let (one, extended) = (leaf(1), leaf(0x8000_0001));
        // Long mode, NX and SYSCALL; no MONITOR, TSC deadline timer, XSAVE, RDRAND; APIC id 0.
        assert_eq!(extended.edx, 1 << 29 | 1 << 20 | 1 << 11);
        assert_eq!(one.ecx & (1 << 3 | 1 << 24 | 1 << 26 | 1 << 30), 0);
        assert_eq!(one.ebx >> 24, 0);
        assert_eq!(leaf(0x8000_0008).eax, 57 | 48 << 8);
        // Signature: EBX, ECX, EDX of KVM; EBX, EDX, ECX of vendors.
        let text: Vec<u8> = [leaf(0x4000_0000).ebx, leaf(0x4000_0000).ecx, leaf(0x4000_0000).edx]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect();
        assert_eq!(text, b"KVMKVMKVM\0\0\0");
        assert_eq!((leaf(0).ebx, leaf(0).edx, leaf(0).ecx), (1, 2, 3));
    }

    #[test]
    fn a_host_that_lacks_one_feature_is_found() {
        let host = HostProcessor { vendor: [0; 3], version: 0, physical_bits: 46 };
        let mut leaves = cpuid(host);
        assert!(is_supported(&leaves));
        leaves[1].ecx &= !(1 << 13);
        assert!(!is_supported(&leaves));
        assert!(!is_supported(&[]));
    }
}
