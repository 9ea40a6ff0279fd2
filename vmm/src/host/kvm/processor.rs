//! CPUID of the host's own processor.
#![allow(unsafe_code)]

use std::arch::x86_64::__cpuid;

use crate::host::cpu::HostProcessor;

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
