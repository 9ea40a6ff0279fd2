//! GDT, TSS and IDT (Intel SDM vol. 3, chapters 3, 6 and 7). Selectors in Linux's order.

use core::arch::asm;
use core::cell::UnsafeCell;

use abi::layout::{KERNEL_BASE, KERNEL_CS};

use super::apic::VECTOR_SPURIOUS;
use super::machine::Stack;
use crate::kernel::VECTOR_TIMER;

/// Interrupt stack of the NMI, and of the double fault.
static NMI_STACK: Stack<8192> = Stack::new();
static DOUBLE_FAULT_STACK: Stack<4096> = Stack::new();

/// Task state segment: only stacks are used.
#[repr(C, packed(4))]
struct Tss {
    reserved: u32,
    rsp: [u64; 3],
    reserved2: u64,
    ist: [u64; 7],
    reserved3: u64,
    reserved4: u16,
    io_map: u16,
}

struct Tables {
    gdt: [u64; 9],
    tss: Tss,
    idt: [[u64; 2]; 256],
}

struct Shared(UnsafeCell<Tables>);

// SAFETY: one CPU, no interrupts in ring 0 but where it waits for one; the NMI handler does not touch the
// tables.
unsafe impl Sync for Shared {}

static TABLES: Shared = Shared(UnsafeCell::new(Tables {
    gdt: [
        0,
        0,
        0x00af_9b00_0000_ffff, // 0x10 kernel code, 64 bits
        0x00cf_9300_0000_ffff, // 0x18 kernel data
        0,                     // 0x20 would be user code, 32 bits
        0x00cf_f300_0000_ffff, // 0x28 user data
        0x00af_fb00_0000_ffff, // 0x30 user code, 64 bits
        0,                     // 0x38 TSS
        0,
    ],
    tss: Tss {
        reserved: 0,
        rsp: [0; 3],
        reserved2: 0,
        ist: [0; 7],
        reserved3: 0,
        reserved4: 0,
        io_map: size_of::<Tss>() as u16,
    },
    idt: [[0; 2]; 256],
}));

unsafe extern "C" {
    fn fault_stubs();
    fn nmi_entry();
    fn timer_entry();
    fn spurious_entry();
}

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Loads all three.
pub(super) fn init() {
    // SAFETY: called once, before any process runs; nothing else holds a reference to the tables.
    let tables = unsafe { &mut *TABLES.0.get() };
    tables.tss.ist[0] = NMI_STACK.top();
    tables.tss.ist[1] = DOUBLE_FAULT_STACK.top();
    let base = (&raw const tables.tss) as u64;
    let limit = size_of::<Tss>() as u64 - 1;
    tables.gdt[7] = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    tables.gdt[8] = base >> 32;
    for vector in (0..32).chain([VECTOR_TIMER, VECTOR_SPURIOUS]) {
        let (handler, ist) = match vector {
            2 => (nmi_entry as *const () as u64, 1),
            VECTOR_TIMER => (timer_entry as *const () as u64, 0),
            VECTOR_SPURIOUS => (spurious_entry as *const () as u64, 0),
            8 => (fault_stubs as *const () as u64 + vector * 16, 2),
            _ => (fault_stubs as *const () as u64 + vector * 16, 0),
        };
        // Breakpoint and overflow may be raised by ring 3 on purpose.
        let level = if vector == 3 || vector == 4 { 3 } else { 0 };
        tables.idt[vector as usize] = [
            handler & 0xffff
                | u64::from(KERNEL_CS) << 16
                | ist << 32
                | (0x8e | level << 5) << 40
                | (handler >> 16 & 0xffff) << 48,
            handler >> 32,
        ];
    }
    let gdt = Pointer { limit: size_of_val(&tables.gdt) as u16 - 1, base: tables.gdt.as_ptr() as u64 };
    let idt = Pointer { limit: size_of_val(&tables.idt) as u16 - 1, base: tables.idt.as_ptr() as u64 };
    debug_assert!(gdt.base >= KERNEL_BASE);
    // SAFETY: both tables are static and complete; the selectors in use keep their meaning in the new GDT.
    unsafe {
        asm!("lgdt [{gdt}]", "lidt [{idt}]", "ltr {tss:x}", gdt = in(reg) &gdt, idt = in(reg) &idt,
            tss = in(reg) 0x38u16, options(nostack, preserves_flags));
    }
}

/// Sets the stack on which the processor saves a process's registers when it faults.
pub(super) fn set_rsp0(top: u64) {
    // SAFETY: the processor reads RSP0 only when ring 3 faults, and ring 0 runs now; there is no reference to
    // it.
    unsafe { (&raw mut (*TABLES.0.get()).tss.rsp).cast::<u64>().write_unaligned(top) }
}
