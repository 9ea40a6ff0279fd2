//! The local APIC's timer, for the clock of real time: periodic, one interrupt a tick (Intel SDM vol. 3,
//! chapter 11).
//!
//! Through the MSRs of x2APIC mode where the processor has it, otherwise through the registers' page in
//! memory. The timer counts at 1 GHz: that is what KVM and QEMU give it, and no other hypervisor is measured,
//! since a measure would need a second clock. Interrupts are on in ring 3, and in ring 0 at one place only,
//! where the kernel waits for the next one.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::layout::{DIRECT_MAP, KERNEL_BASE};

use super::port;
use crate::mem::space::{NO_EXECUTE, PRESENT, WRITE};

/// The vector of interrupts that were gone when they were to be delivered; they are not acknowledged.
pub(super) const VECTOR_SPURIOUS: u64 = 255;

/// `IA32_APIC_BASE`, and its bits for x2APIC mode and for the APIC itself.
const APIC_BASE: u32 = 0x1b;
const X2APIC_MODE: u64 = 1 << 10;
const ENABLED: u64 = 1 << 11;

/// Registers, by their offsets in the page; in x2APIC mode, MSR 0x800 and the offset by 16.
const TASK_PRIORITY: u32 = 0x80;
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const TIMER: u32 = 0x320;
const LINT0: u32 = 0x350;
const INITIAL_COUNT: u32 = 0x380;
const DIVIDE: u32 = 0x3e0;

/// In [`SPURIOUS`]: the APIC is on.
const SOFTWARE_ENABLED: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const PERIODIC: u32 = 1 << 17;
/// In [`DIVIDE`]: by 16.
const BY_16: u32 = 3;
/// What the timer counts in a microsecond then, times 2: 62.5.
const COUNTS_IN_2_US: u32 = 125;

/// The registers' page, and where the kernel sees it: behind the image, in an entry of its page directory
/// that the image does not need.
const PAGE: u64 = 0xfee0_0000;
const DIRECTORY_ENTRY: usize = 4;
const WINDOW: u64 = KERNEL_BASE + ((DIRECTORY_ENTRY as u64) << 21);
const LARGE_UNCACHED: u64 = 0x98;

const _: () = assert!(PAGE.is_multiple_of(1 << 21));

static X2APIC: AtomicBool = AtomicBool::new(false);
/// Interrupts that came while the kernel waited for them; counted by the entry stub.
pub(super) static IDLE_TICKS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" {
    static boot_pd_image: u8;
}

/// Starts the timer.
pub(super) fn init(tick_us: u32) {
    let x2apic = core::arch::x86_64::__cpuid(1).ecx & (1 << 21) != 0;
    X2APIC.store(x2apic, Ordering::Relaxed);
    let base = port::read_msr(APIC_BASE) | ENABLED;
    // From a disabled APIC the way to x2APIC mode leads through the plain one (10.12.5).
    port::write_msr(APIC_BASE, base);
    if x2apic {
        port::write_msr(APIC_BASE, base | X2APIC_MODE);
    } else {
        // SAFETY: the image's page directory, through the direct map; nothing uses this entry, and a page
        // directory entry that was not present may be in no cache.
        unsafe {
            let directory = (DIRECT_MAP + (&raw const boot_pd_image) as u64) as *mut u64;
            directory.add(DIRECTORY_ENTRY).write(PAGE | LARGE_UNCACHED | PRESENT | WRITE | NO_EXECUTE);
        }
    }
    write(SPURIOUS, SOFTWARE_ENABLED | VECTOR_SPURIOUS as u32);
    write(TASK_PRIORITY, 0);
    // The old interrupt controller of a PC comes in here. The other pin, the NMI's, stays as the firmware
    // left it.
    write(LINT0, MASKED);
    write(DIVIDE, BY_16);
    write(TIMER, PERIODIC | crate::kernel::VECTOR_TIMER as u32);
    write(INITIAL_COUNT, (u64::from(tick_us) * u64::from(COUNTS_IN_2_US) / 2) as u32);
}

/// Has the next interrupt delivered.
pub(super) fn end_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Waits for the timer's interrupt, and takes it.
pub(super) fn wait_for_interrupt() {
    while IDLE_TICKS.swap(0, Ordering::Relaxed) == 0 {
        // SAFETY: the timer's stub touches nothing but the counter and the stack below this frame (there is
        // no red zone), and interrupts are off again before anything else happens. `sti` takes effect after
        // `hlt` has begun.
        unsafe { asm!("sti", "hlt", "cli") };
    }
    end_interrupt();
}

fn write(register: u32, value: u32) {
    if X2APIC.load(Ordering::Relaxed) {
        port::write_msr(0x800 + register / 16, u64::from(value));
    } else {
        // SAFETY: `init` has mapped the registers' page; a device's register is no memory of Rust's.
        unsafe { ((WINDOW + u64::from(register)) as *mut u32).write_volatile(value) }
    }
}
