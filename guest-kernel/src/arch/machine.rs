//! The guest's [`Hardware`], the one kernel value, and stacks.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::info::{COMMAND_SLOTS, Command, FROM_HOST, FromHost, HOST_FILLS};
use abi::layout::{DIRECT_MAP, PORT_DOORBELL, PORT_FILL, PORT_WATCHDOG_START};
use abi::process::{Context, Descriptor};
use abi::{Frame, GuestVirt};

use super::{apic, entry, port, serial, tables};
use crate::base::hardware::{Hardware, Page};
use crate::kernel::Kernel;

/// A stack of `N` bytes, aligned for any use.
#[repr(C, align(4096))]
pub(super) struct Stack<const N: usize>(UnsafeCell<MaybeUninit<[u8; N]>>);

// SAFETY: a stack is only ever used by the processor, through its address.
unsafe impl<const N: usize> Sync for Stack<N> {}

impl<const N: usize> Stack<N> {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Its lowest byte.
    pub(super) fn bottom(&self) -> *const u8 {
        self.0.get().cast()
    }

    /// One past its highest byte.
    pub(super) fn top(&self) -> u64 {
        self.0.get() as u64 + N as u64
    }
}

/// The kernel of this guest.
pub(super) type GuestKernel = Kernel<Machine>;

struct Cell(UnsafeCell<MaybeUninit<GuestKernel>>);

// SAFETY: one CPU; the kernel is entered serially (see `with_kernel`).
unsafe impl Sync for Cell {}

static KERNEL: Cell = Cell(UnsafeCell::new(MaybeUninit::uninit()));

/// Puts the kernel in its place; once, before anything can enter it.
pub(super) fn install(kernel: GuestKernel) {
    // SAFETY: called once from `start`, before the first process runs.
    unsafe { (*KERNEL.0.get()).write(kernel) };
}

/// Runs `f` with the kernel.
pub(super) fn with_kernel<R>(f: impl FnOnce(&mut GuestKernel) -> R) -> R {
    // SAFETY: `install` has run before any process; entries come from processes only (a fault inside the
    // kernel goes to the panic path, the NMI handler does not come here), so no other reference is live.
    f(unsafe { (*KERNEL.0.get()).assume_init_mut() })
}

/// The part of the info page that the host writes.
pub(super) struct HostSide {
    features: &'static AtomicU32,
    tail: &'static AtomicU64,
    given: &'static AtomicU64,
    commands: &'static [[AtomicU32; 2]; COMMAND_SLOTS],
}

impl HostSide {
    /// The host's part of the info page at `page`.
    ///
    /// # Safety
    /// `page` is the info page, which lives for ever; nothing but the host writes behind [`FROM_HOST`].
    pub(super) unsafe fn new(page: *mut u8) -> Self {
        let at = page.wrapping_add(FROM_HOST as usize);
        // SAFETY: the fields are inside the page, aligned, and accessed by atomics only; a command is two
        // words.
        unsafe {
            Self {
                features: AtomicU32::from_ptr(
                    at.wrapping_add(core::mem::offset_of!(FromHost, features)).cast(),
                ),
                tail: AtomicU64::from_ptr(
                    at.wrapping_add(core::mem::offset_of!(FromHost, trace_tail)).cast(),
                ),
                given: AtomicU64::from_ptr(
                    at.wrapping_add(core::mem::offset_of!(FromHost, commands_given)).cast(),
                ),
                commands: &*at.wrapping_add(core::mem::offset_of!(FromHost, commands)).cast(),
            }
        }
    }
}

/// The real thing.
pub(super) struct Machine {
    /// Frames that exist.
    pub(super) frames: u64,
    pub(super) host: HostSide,
}

#[cold]
#[inline(never)]
fn no_such(frame: Frame) -> ! {
    panic!("there is no {frame:?}")
}

impl Hardware for Machine {
    #[inline(always)]
    fn page(&mut self, frame: Frame) -> &mut Page {
        if frame.0 >= self.frames {
            no_such(frame);
        }
        // SAFETY: the frame exists and the direct map covers it; `&mut self` makes this the only such
        // reference in the kernel. Processes that have the frame mapped do not run while the kernel does.
        unsafe { &mut *((DIRECT_MAP + frame.base().0) as *mut Page) }
    }

    fn zero(&mut self, frame: Frame) {
        if self.host.features.load(Ordering::Relaxed) & HOST_FILLS != 0 {
            port::out32(PORT_FILL, frame.base().0 as u32);
        } else {
            port::fill_zero(self.page(frame).0.as_mut_ptr(), 512);
        }
    }

    fn zero_table(&mut self, frame: Frame) {
        // Not by the fill port: a KVM that shadows page tables would keep the old entries, which it did not
        // see go.
        port::fill_zero(self.page(frame).0.as_mut_ptr(), 512);
    }

    fn flush_page(&mut self, page: GuestVirt) {
        port::invlpg(page.0);
    }

    fn load_root(&mut self, root: Frame) {
        port::load_cr3(root.base().0);
    }

    fn resume_from(&mut self, descriptor: Frame) {
        let context = DIRECT_MAP + descriptor.base().0 + core::mem::offset_of!(Descriptor, context) as u64;
        tables::set_rsp0(entry::set_context(context));
    }

    fn is_syscall(fault: &Context) -> bool {
        entry::is_syscall(fault)
    }

    fn end_interrupt(&mut self) {
        apic::end_interrupt();
    }

    fn wait_for_interrupt(&mut self) {
        apic::wait_for_interrupt();
    }

    fn fault_address(&self) -> u64 {
        port::cr2()
    }

    fn ring(&mut self, value: u32) {
        port::out32(PORT_DOORBELL, value);
    }

    fn host(&self) -> (u32, u64) {
        (self.host.features.load(Ordering::Relaxed), self.host.tail.load(Ordering::Relaxed))
    }

    fn commands_given(&self) -> u64 {
        self.host.given.load(Ordering::Relaxed)
    }

    fn command(&self, nth: u64) -> Command {
        let [what, subject] = &self.host.commands[nth as usize % COMMAND_SLOTS];
        Command { what: what.load(Ordering::Relaxed), subject: subject.load(Ordering::Relaxed) }
    }

    fn pet_watchdog(&mut self, code: u8) {
        port::out8(PORT_WATCHDOG_START, code);
    }

    fn print(&mut self, text: &[u8]) {
        serial::write(text);
    }
}
