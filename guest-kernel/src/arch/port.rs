//! Single instructions: I/O ports, control registers, model-specific registers.

use core::arch::asm;

pub(super) fn out8(port: u16, value: u8) {
    // SAFETY: a port write has no effect on memory that Rust knows of, except through the doorbell, whose
    // host only reads guest memory and writes the atomics of `FromHost`.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) }
}

pub(super) fn out32(port: u16, value: u32) {
    // SAFETY: as for `out8`; the fill port writes a frame that the caller owns and does not hold a reference
    // to.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)) }
}

pub(super) fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: the ports read here (line status) have no effect on memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags, nomem)) }
    value
}

/// Writes all bytes to one port with a single instruction.
pub(super) fn out_string(port: u16, bytes: &[u8]) {
    // SAFETY: reads exactly `bytes`; RSI and RCX are declared as changed.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _,
            options(nostack, preserves_flags, readonly));
    }
}

pub(super) fn write_msr(msr: u32, value: u64) {
    // SAFETY: only called with STAR, LSTAR and SFMASK while setting up the system call entry, and with the
    // APIC's registers, none of which make the processor touch memory that Rust knows of.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

pub(super) fn read_msr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading the register that is read here has no effect.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nostack, preserves_flags, nomem));
    }
    u64::from(high) << 32 | u64::from(low)
}

pub(super) fn cr2() -> u64 {
    let value;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nostack, preserves_flags, nomem)) }
    value
}

pub(super) fn cr3() -> u64 {
    let value;
    // SAFETY: reading CR3 has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nostack, preserves_flags, nomem)) }
    value
}

pub(super) fn load_cr3(root: u64) {
    // SAFETY: every root that the kernel loads shares the kernel half (`Kernel::build_space`), so the code
    // that runs and the memory it uses stay mapped.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) }
}

pub(super) fn invlpg(at: u64) {
    // SAFETY: forgetting a translation never changes what memory means, only how fast it is found.
    unsafe { asm!("invlpg [{}]", in(reg) at, options(nostack, preserves_flags)) }
}

pub(super) fn fill_zero(at: *mut u64, words: usize) {
    // SAFETY: the caller gives a frame of the direct map that nothing refers to; exactly `words` are written.
    unsafe {
        asm!("rep stosq", inout("rdi") at => _, inout("rcx") words => _, in("rax") 0u64,
            options(nostack, preserves_flags));
    }
}

pub(super) fn halt() {
    // SAFETY: the processor waits; interrupts are off, so only an NMI ends it.
    unsafe { asm!("hlt", options(nostack, preserves_flags, nomem)) }
}
