//! Where everything is: the guest's virtual map, and the I/O ports. One place, checked at compile time.
//!
//! ```text
//! 0x0000_0000_0040_0000  program text, read-only and executable, shared by all instances   (1 MiB)
//! 0x0000_0000_0050_0000  program data and bss, private                                      (960 KiB)
//! 0x0000_0000_005f_0000  stack, grows down from 0x60_0000                                   (64 KiB)
//! 0x0000_0000_0060_0000  windows: frames on loan from other processes                       (2 MiB)
//! 0x0000_0000_0080_0000  heap                                                               (2 MiB)
//! 0xffff_8000_0000_0000  direct map of guest-physical memory, supervisor, no-execute        (1 GiB at most)
//! 0xffff_ffff_8000_0000  kernel image at guest-physical address + this base
//! ```

/// Bytes in a page and in a frame.
pub const PAGE_SIZE: u64 = 4096;

/// Where the kernel sees all guest-physical memory.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Most guest memory that the kernel manages, bytes; the rest is left alone.
pub const MAX_MEMORY: u64 = 1 << 30;
/// The kernel image is linked at its guest-physical address plus this.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// Where the kernel image starts in guest-physical memory.
pub const KERNEL_PHYS: u64 = 0x10_0000;

/// The boot module inside the kernel image. Programs run where their text lies in it, so its frames are part
/// of what a run's events name. `kernel.ld` places it here whatever the size of the kernel's text in front of
/// it.
pub const MODULE_PHYS: u64 = 0x12_0000;
/// The tables that the host reads: the last part of the image.
pub const PUBLISHED_PHYS: u64 = 0x17_6000;
/// One past the image's last byte, and the first frame that the kernel manages. Every frame number of a run
/// counts from here, so a kernel that outgrows its window is refused by the linker instead of moving it.
pub const KERNEL_PHYS_END: u64 = 0x18_7000;

/// Program text and read-only data.
pub const USER_TEXT: u64 = 0x40_0000;
/// Program data, zeroed at start.
pub const USER_DATA: u64 = 0x50_0000;
/// The page of state that an Agent shares with the kernel.
pub const USER_STATE: u64 = 0x5e_0000;
/// Lowest address that the stack may grow to.
pub const USER_STACK: u64 = 0x5f_0000;
/// One past the stack's highest byte.
pub const USER_STACK_TOP: u64 = 0x60_0000;
/// Windows: one slot of [`LOAN_PAGES`] pages for each loan that the process has borrowed.
pub const USER_WINDOWS: u64 = 0x60_0000;
/// Window slots of one process.
pub const WINDOW_SLOTS: usize = 64;
/// Most pages in one loan.
pub const LOAN_PAGES: usize = 4;
/// One past the last address that a window can have.
pub const USER_WINDOWS_END: u64 = USER_WINDOWS + (WINDOW_SLOTS * LOAN_PAGES) as u64 * PAGE_SIZE;
/// Heap, grown on request.
pub const USER_HEAP: u64 = 0x80_0000;
/// One past the heap's last byte.
pub const USER_HEAP_END: u64 = 0xa0_0000;
/// One past the last address that a process can have mapped.
pub const USER_END: u64 = USER_HEAP_END;

/// Kernel code segment (ring 0). Linux's numbering, which a trap-and-emulate KVM host expects.
pub const KERNEL_CS: u16 = 0x10;
/// Kernel stack segment.
pub const KERNEL_SS: u16 = 0x18;
/// User code segment with its privilege level.
pub const USER_CS: u16 = 0x33;
/// User stack segment with its privilege level.
pub const USER_SS: u16 = 0x2b;

/// First serial port, a 16550: COM1.
pub const PORT_SERIAL: u16 = 0x3f8;
/// Registers of the serial port.
pub const PORT_SERIAL_LEN: u16 = 8;
/// IB700 watchdog: a write disarms it (Linux `ib700wdt.c`; QEMU `wdt_ib700.c`).
pub const PORT_WATCHDOG_STOP: u16 = 0x441;
/// IB700 watchdog: a write of v arms it for 30 - 2 * (v & 15) seconds.
pub const PORT_WATCHDOG_START: u16 = 0x443;
/// Keyboard controller's command port; 0xfe written here resets the machine.
pub const PORT_I8042: u16 = 0x64;
/// Keyboard controller's data port; it reads as zero.
pub const PORT_I8042_DATA: u16 = 0x60;
/// Trap port, written as a byte: the instruction that stands here was put in place of another one, by a VMM
/// that wants to know when that is reached. Nothing on a PC answers here.
pub const PORT_TRAP: u16 = 0xf2;
/// Exit port: a write ends the guest, its value (0 to 127) is the exit status. Nothing on a PC answers here.
pub const PORT_EXIT: u16 = 0xf4;
/// Doorbell port, written as a double word: see [`crate::info::Doorbell`]. Nothing on a PC answers here.
pub const PORT_DOORBELL: u16 = 0xf8;
/// Fill port, written as a double word: the frame at this (page-aligned) guest-physical address is zeroed.
/// Only where [`crate::info::HOST_FILLS`] says so: a kernel on a slow ring 0 has better things to do.
pub const PORT_FILL: u16 = 0xfc;

/// The i8042 command that pulses the reset line.
pub const I8042_RESET: u8 = 0xfe;

const _: () = {
    assert!(
        USER_TEXT < USER_DATA
            && USER_DATA < USER_STATE
            && USER_STATE + PAGE_SIZE <= USER_STACK
            && USER_STACK < USER_STACK_TOP
    );
    assert!(USER_STACK_TOP <= USER_WINDOWS);
    assert!(USER_WINDOWS_END <= USER_HEAP);
    assert!(USER_HEAP < USER_HEAP_END && USER_END < 1 << 30);
    // The stack, text and data share one page table, the windows have one, the heap has one.
    assert!(USER_TEXT >> 21 == (USER_STACK_TOP - 1) >> 21);
    assert!(USER_WINDOWS >> 21 == (USER_HEAP - 1) >> 21);
    assert!(KERNEL_PHYS.is_multiple_of(PAGE_SIZE) && DIRECT_MAP + MAX_MEMORY < KERNEL_BASE);
    assert!(MODULE_PHYS.is_multiple_of(PAGE_SIZE) && PUBLISHED_PHYS.is_multiple_of(PAGE_SIZE));
    assert!(KERNEL_PHYS < MODULE_PHYS && MODULE_PHYS < PUBLISHED_PHYS && PUBLISHED_PHYS < KERNEL_PHYS_END);
    // The image has one page table.
    assert!(KERNEL_PHYS_END.is_multiple_of(PAGE_SIZE) && KERNEL_PHYS_END <= 1 << 21);
    // Ports: ranges in rising order, none overlapping.
    assert!(PORT_I8042_DATA < PORT_I8042 && PORT_I8042 < PORT_TRAP && PORT_TRAP < PORT_EXIT);
    assert!(PORT_EXIT + 4 <= PORT_DOORBELL && PORT_DOORBELL + 4 <= PORT_FILL && PORT_FILL + 4 <= PORT_SERIAL);
    assert!(PORT_SERIAL + PORT_SERIAL_LEN <= PORT_WATCHDOG_STOP && PORT_WATCHDOG_STOP < PORT_WATCHDOG_START);
};
