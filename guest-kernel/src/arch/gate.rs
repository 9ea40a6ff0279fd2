//! How a kernel process makes a system call: through the gate of `entry`, with the registers of `SYSCALL`.

use core::arch::asm;

/// Makes a system call from a kernel process; returns the status, then RDI, RSI, RDX, R10, R8, R9.
#[inline]
pub(super) fn kernel_call(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> (u64, [u64; 6]) {
    let (status, ra, rb, rc, rd, re, rf);
    // SAFETY: the gate changes the registers named here and returns with the caller's stack as it was. Kernel
    // processes pass no addresses.
    unsafe {
        asm!("call kernel_gate", inlateout("rax") number => status, inlateout("rdi") a => ra,
            inlateout("rsi") b => rb, inlateout("rdx") c => rc, inlateout("r10") d => rd,
            inlateout("r8") e => re, inlateout("r9") f => rf, out("rcx") _, out("r11") _);
    }
    (status, [ra, rb, rc, rd, re, rf])
}
