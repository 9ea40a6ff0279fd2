//! What programs cannot say in safe Rust, and all of ring 3's `unsafe`: the system call, words of memory that
//! others may write, the code that the kernel sends a process to, and the start of a program.
#![allow(unsafe_code)]

use core::arch::{asm, global_asm};

use abi::layout::{USER_DATA, USER_TEXT};
use abi::syscall::Call;

/// The results of a system call: the status, then RDI, RSI, RDX, R10, R8, R9.
pub type Results = (u64, [u64; 6]);

/// Makes a system call.
#[inline]
pub fn system_call(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> Results {
    let (status, ra, rb, rc, rd, re, rf);
    // SAFETY: the kernel changes the registers named here, and no memory that the caller holds references to:
    // a lent buffer is passed by address and read again through volatile accesses.
    unsafe {
        asm!("syscall", inlateout("rax") number => status, inlateout("rdi") a => ra, inlateout("rsi") b => rb,
            inlateout("rdx") c => rc, inlateout("r10") d => rd, inlateout("r8") e => re, inlateout("r9") f => rf,
            out("rcx") _, out("r11") _, options(nostack));
    }
    (status, [ra, rb, rc, rd, re, rf])
}

/// Reads a word of memory that others may write: heap on loan, or a window.
#[inline]
pub fn read_word(at: u64) -> u64 {
    // SAFETY: an address of the program's own. If nothing is mapped there the program faults, and the kernel
    // handles it.
    unsafe { (at as *const u64).read_volatile() }
}

/// Writes a word of memory that others may read or write.
#[inline]
pub fn write_word(at: u64, value: u64) {
    // SAFETY: as for `read_word`; programs write only heap and windows this way, where no references point.
    unsafe { (at as *mut u64).write_volatile(value) }
}

// Signal handlers return here. `Call::Return` restores every register, so this code saves none.
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

// A tagged process continues here, in the place of its own program, and exits. The code has a page of its
// own, so that nothing else of the Agent is mapped into the violator with it; to the Agent itself the page is
// read-only data.
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

// The addresses of `abi` as absolute symbols, for the linker script.
global_asm!(
    ".globl ABI_USER_TEXT, ABI_USER_DATA",
    ".set ABI_USER_TEXT, {text}",
    ".set ABI_USER_DATA, {data}",
    text = const USER_TEXT,
    data = const USER_DATA,
);

/// Returns the address of the page that an Agent sends violators to.
pub fn remedy() -> u64 {
    unsafe extern "C" {
        fn agents_remedy();
    }
    agents_remedy as *const () as u64
}

/// Returns the address that a signal handler returns to.
pub fn restorer() -> u64 {
    unsafe extern "C" {
        fn signal_restorer();
    }
    signal_restorer as *const () as u64
}

/// Returns the ring that the caller runs in.
#[inline]
pub fn privilege() -> u64 {
    let selector: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cs", out(reg) selector, options(nomem, nostack, preserves_flags)) }
    selector & 3
}

/// Ends the program with an undefined instruction, for errors that it cannot report.
pub fn stop() -> ! {
    // SAFETY: the instruction faults, and the kernel ends the program.
    unsafe { asm!("ud2", options(noreturn)) }
}

/// Makes `$main(argument, seed, me)` the start of a program, and ends the program on a panic.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// The entry point.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        pub extern "C" fn _start(argument: u64, seed: u64, me: u64) -> ! {
            $main(argument, seed, me)
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::arch::stop()
        }
    };
}
