//! What the kernel needs of a machine. The guest's is in `arch`; host tests have one made of plain memory.

use abi::info::Command;
use abi::process::Context;
use abi::{Frame, GuestVirt};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A frame's content.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
pub struct Page(pub [u64; 512]);

/// The machine under the kernel.
pub trait Hardware {
    /// The content of a frame. Panics for a frame that the machine does not have: that is a damaged kernel
    /// structure.
    fn page(&mut self, frame: Frame) -> &mut Page;
    /// Fills a frame with zeros.
    fn zero(&mut self, frame: Frame);
    /// The same for a frame that is to be a page table. Where the processor's translations are kept by a host
    /// that only sees what the guest itself writes, only the guest can empty a page table.
    fn zero_table(&mut self, frame: Frame);
    /// Forgets the cached translation of one page of the running address space.
    fn flush_page(&mut self, page: GuestVirt);
    /// Makes `root` the running address space and forgets all cached translations of processes.
    fn load_root(&mut self, root: Frame);
    /// Says in which descriptor the next kernel entry saves its registers, and from which it resumes.
    fn resume_from(&mut self, descriptor: Frame);
    /// Whether a page fault with these registers is a system call, on a host where they arrive so: the
    /// instruction after it is in RCX, the flags are in R11.
    fn is_syscall(_fault: &Context) -> bool {
        false
    }
    /// Has the timer's interrupt delivered again; where the clock is the APIC's.
    fn end_interrupt(&mut self) {}
    /// Waits for the timer's interrupt, and takes it; where the clock is the APIC's.
    fn wait_for_interrupt(&mut self) {}
    /// The address of the last page fault.
    fn fault_address(&self) -> u64;
    /// Writes to the doorbell port.
    fn ring(&mut self, value: u32);
    /// What the host has written for us: `HOST_*` features and the records it has taken from the trace.
    fn host(&self) -> (u32, u64);
    /// How many commands the host has ever given.
    fn commands_given(&self) -> u64;
    /// The command with this number; anything at all for one that was not given or is long gone.
    fn command(&self, nth: u64) -> Command;
    /// Restarts the watchdog with this timeout code (port 0x443).
    fn pet_watchdog(&mut self, code: u8);
    /// Writes to the console.
    fn print(&mut self, text: &[u8]);
}
