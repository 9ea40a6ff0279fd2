//! System calls, from ring 3 by `SYSCALL`, from kernel processes through the kernel's gate; and how a program starts.

use core::arch::{asm, global_asm};

use abi::syscall::Call;

/// What came back: the status, then RDI, RSI, RDX, R10, R8, R9.
pub type Answer = (u64, [u64; 6]);

/// A system call from ring 3.
#[inline]
pub fn system_call(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> Answer {
    let (status, ra, rb, rc, rd, re, rf);
    // SAFETY: the kernel changes the registers named here and no memory of the caller's that it holds references to:
    // a lent buffer is passed by address and read again through volatile accesses.
    unsafe {
        asm!("syscall", inlateout("rax") number => status, inlateout("rdi") a => ra, inlateout("rsi") b => rb,
            inlateout("rdx") c => rc, inlateout("r10") d => rd, inlateout("r8") e => re, inlateout("r9") f => rf,
            out("rcx") _, out("r11") _, options(nostack));
    }
    (status, [ra, rb, rc, rd, re, rf])
}

/// The same from a kernel process.
#[cfg(feature = "kernel")]
#[inline]
pub fn kernel_call(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> Answer {
    let (status, ra, rb, rc, rd, re, rf);
    // SAFETY: as above; the gate returns with the caller's stack as it was, and only RCX and R11 lost.
    unsafe {
        asm!("call kernel_gate", inlateout("rax") number => status, inlateout("rdi") a => ra,
            inlateout("rsi") b => rb, inlateout("rdx") c => rc, inlateout("r10") d => rd,
            inlateout("r8") e => re, inlateout("r9") f => rf, out("rcx") _, out("r11") _);
    }
    (status, [ra, rb, rc, rd, re, rf])
}

/// One word of memory that somebody else may write: heap that was lent, or a window.
#[inline]
pub fn read_word(at: u64) -> u64 {
    // SAFETY: a program's own address; if it is not mapped the program faults, which is the kernel's to judge.
    unsafe { (at as *const u64).read_volatile() }
}

/// The counterpart of [`read_word`].
#[inline]
pub fn write_word(at: u64, value: u64) {
    // SAFETY: as for `read_word`; programs only write heap and windows this way, where no references point.
    unsafe { (at as *mut u64).write_volatile(value) }
}

// What a signal handler returns to: `Call::Return` brings the registers back, so that nothing here needs to be kept.
global_asm!(
    ".pushsection .text.signal_restorer, \"ax\", @progbits",
    ".globl signal_restorer",
    "signal_restorer:",
    "mov eax, {number}",
    "syscall",
    "ud2",
    ".popsection",
    number = const Call::Return as u32,
);

// What a process that was tagged comes to, in the place of its program: the end. A page of its own, so that nothing but
// this goes there with it; data for the Agent itself.
global_asm!(
    ".pushsection .rodata.remedy, \"a\", @progbits",
    ".balign 4096",
    ".globl agents_remedy",
    "agents_remedy:",
    "mov edi, 1",
    "mov eax, {number}",
    "syscall",
    "ud2",
    ".balign 4096, 0xcc",
    ".popsection",
    number = const Call::Exit as u32,
);

/// Address of the page that an Agent sends violators to.
pub fn remedy() -> u64 {
    unsafe extern "C" {
        fn agents_remedy();
    }
    agents_remedy as *const () as u64
}

/// Where a signal handler returns to.
pub fn restorer() -> u64 {
    unsafe extern "C" {
        fn signal_restorer();
    }
    signal_restorer as *const () as u64
}

/// The ring that the caller runs in.
#[inline]
pub fn privilege() -> u64 {
    let selector: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cs", out(reg) selector, options(nomem, nostack, preserves_flags)) }
    selector & 3
}

/// Ends the program with an undefined instruction: something is wrong with it.
pub fn stop() -> ! {
    // SAFETY: does not come back.
    unsafe { asm!("ud2", options(noreturn)) }
}

/// Makes `$main(argument, seed, me)` the start of a program, and a panic its end.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// Where the kernel enters.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        pub extern "C" fn _start(argument: u64, seed: u64, me: u64) -> ! {
            $main(argument, seed, me)
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::arch::user::stop()
        }
    };
}
