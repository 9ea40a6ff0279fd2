//! The readable end: a message, the registers, the way here. Then the kernel only keeps time, so that the
//! watchdog finds a guest that has stopped.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::GuestPhys;
use abi::info::Doorbell;
use abi::layout::{DIRECT_MAP, KERNEL_BASE, KERNEL_PHYS_END, MAX_MEMORY, MODULE_PHYS, PORT_DOORBELL};
use abi::process::Context;

use super::serial::Line;
use super::{port, start};

static PANICKED: AtomicBool = AtomicBool::new(false);

/// What the kernel's panic handler does.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    if !PANICKED.swap(true, Ordering::Relaxed) {
        let _ = writeln!(Line::new(), "\npanic: {}", info.message());
        if let Some(at) = info.location() {
            let _ = writeln!(Line::new(), "  at {}:{}", at.file(), at.line());
        }
        let frame: u64;
        // SAFETY: reads a register.
        unsafe { core::arch::asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
        backtrace(frame);
    }
    stopped()
}

/// A fault while the kernel itself ran.
pub(super) extern "C" fn fault_in_kernel(frame: &Context) -> ! {
    if !PANICKED.swap(true, Ordering::Relaxed) {
        let _ = writeln!(Line::new(), "\npanic: exception {} in the kernel", frame.vector);
        dump(frame);
    }
    stopped()
}

/// Prints registers and the way here.
pub(super) fn dump(frame: &Context) {
    let mut line = Line::new();
    let _ = writeln!(
        line,
        "  rip {:#x} cs {:#x} rflags {:#x} rsp {:#x} ss {:#x}",
        frame.rip, frame.cs, frame.rflags, frame.rsp, frame.ss
    );
    let _ = writeln!(
        line,
        "  vector {} error {:#x} cr2 {:#x} cr3 {:#x}",
        frame.vector,
        frame.error,
        port::cr2(),
        port::cr3()
    );
    for row in [
        [("rax", frame.rax), ("rbx", frame.rbx), ("rcx", frame.rcx), ("rdx", frame.rdx)],
        [("rsi", frame.rsi), ("rdi", frame.rdi), ("rbp", frame.rbp), ("r8 ", frame.r8)],
        [("r9 ", frame.r9), ("r10", frame.r10), ("r11", frame.r11), ("r12", frame.r12)],
        [("r13", frame.r13), ("r14", frame.r14), ("r15", frame.r15), ("", 0)],
    ] {
        for (name, value) in row.into_iter().filter(|(name, _)| !name.is_empty()) {
            let _ = write!(line, "  {name} {value:#018x}");
        }
        let _ = writeln!(line);
    }
    if frame.cs & 3 == 0 {
        backtrace(frame.rbp);
    }
}

/// Follows the frame pointers, as long as they stay in the kernel's memory and rise.
fn backtrace(mut frame: u64) {
    let inside = |at: u64| {
        at.is_multiple_of(8)
            && ((KERNEL_BASE + MODULE_PHYS..KERNEL_BASE + KERNEL_PHYS_END).contains(&at)
                || (DIRECT_MAP..DIRECT_MAP + MAX_MEMORY).contains(&at))
    };
    let mut line = Line::new();
    for _ in 0..12 {
        if !inside(frame) {
            break;
        }
        // SAFETY: the address is aligned and in memory that the kernel has mapped; whatever stands there is a
        // number.
        let (next, back) = unsafe { ((frame as *const u64).read(), (frame as *const u64).add(1).read()) };
        let _ = writeln!(line, "  from {back:#x}");
        if next <= frame {
            break;
        }
        frame = next;
    }
}

/// Keeps only the clock going, so that a watchdog finds a guest that has stopped.
fn stopped() -> ! {
    port::out32(PORT_DOORBELL, Doorbell::Panic.value(GuestPhys(0)));
    loop {
        // SAFETY: the info block is static plain data, and the kernel that owned it is dead.
        unsafe {
            let tick = &raw mut (*start::info()).tick;
            tick.write_volatile(tick.read_volatile() + 1);
        }
        port::out32(PORT_DOORBELL, Doorbell::Tick.value(GuestPhys(0)));
    }
}
