//! From a process into the kernel and back.
//!
//! Every entry from a process saves its registers straight into its descriptor: TSS.RSP0 and [`CONTEXT_END`]
//! point behind the descriptor's [`Context`], so that the processor (for faults) or the stub (for system
//! calls) pushes them where they belong and nothing is copied. Then the kernel stack is taken up, [`enter`]
//! decides, and the registers of the process to resume are popped from *its* descriptor. A fault from ring 0
//! outside of that is a bug and a panic.

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::layout::{KERNEL_CS, KERNEL_SS, USER_SS};
use abi::process::{Context, VECTOR_SYSCALL};
use abi::syscall::Call;

use super::machine::{self, GuestKernel, Stack};
use super::{panic, port};
use crate::kernel::VECTOR_TIMER;

/// Size of the kernel's one stack, bytes, with the page at its lower end that is not mapped: what grows too
/// far is found out. Most of it is for the start, which builds the kernel's value there.
pub(super) const KERNEL_STACK_SIZE: usize = 40960;

/// The kernel's one stack.
pub(super) static KERNEL_STACK: Stack<KERNEL_STACK_SIZE> = Stack::new();

/// Where the running process's registers start, and where they end, in its descriptor.
static CONTEXT: AtomicU64 = AtomicU64::new(0);
static CONTEXT_END: AtomicU64 = AtomicU64::new(0);
/// The stack pointer of a process between `SYSCALL` and the moment when it is saved.
static CALLER_RSP: AtomicU64 = AtomicU64::new(0);
/// Whether a process runs, and not the kernel itself.
static OUTSIDE: AtomicBool = AtomicBool::new(false);

global_asm!(
    r#"
    .pushsection .text.entry, "ax", @progbits

    // SYSCALL from ring 3: RCX holds the return address, R11 the flags.
    .globl syscall_entry
syscall_entry:
    mov [rip + {caller_rsp}], rsp
    mov rsp, [rip + {context_end}]
    // SYSCALL saves no selectors: those with which the process was resumed stay.
    sub rsp, 8
    push [rip + {caller_rsp}]
    push r11
    sub rsp, 8
    push rcx
    push 0
    push {vector_syscall}
    jmp save_and_enter

    // The same for a kernel process, by `call`: it pops its return address as SYSCALL would leave it.
    .globl kernel_gate
kernel_gate:
    pop rcx
    pushfq
    pop r11
    mov [rip + {caller_rsp}], rsp
    mov rsp, [rip + {context_end}]
    push {kernel_ss}
    push [rip + {caller_rsp}]
    push r11
    push {kernel_cs}
    push rcx
    push 0
    push {vector_syscall}

save_and_enter:
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
take_up:
    // A fault leaves the direction flag as the process had it.
    cld
    lea rsp, [rip + {stack} + {stack_size}]
    xor ebp, ebp
    call {enter}
    // Falls through: the process that was chosen continues.

    .globl resume
resume:
    mov rsp, [rip + {context}]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

    // Where a function that was called by phone returns to: it hangs up. Whatever it has done to the flags,
    // the kernel is entered with clean ones.
    .globl phone_end
phone_end:
    push 2
    popfq
    mov rdi, rax
    mov eax, {hang_up}
    call kernel_gate
    ud2

    // A fault. From ring 3 the processor has switched to the descriptor; from ring 0 this is the kernel's own
    // stack, or that of a phone call.
fault_entry:
    test byte ptr [rsp + 24], 3
    jnz save_and_enter
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    and rsp, -16
    cld
    call {fault_in_ring_0}
    // Comes back if it was not the kernel's: a process has ended, and with it this stack.
    jmp take_up

    // The APIC's timer. From ring 3 an entry like any other; in ring 0 only where the kernel waits for it.
    .globl timer_entry
timer_entry:
    test byte ptr [rsp + 8], 3
    jz 1f
    push 0
    push {vector_timer}
    jmp save_and_enter
1:
    inc dword ptr [rip + {idle_ticks}]
    iretq

    // An interrupt that is none. From ring 3 it has been pushed where the next entry will push, and is
    // forgotten.
    .globl spurious_entry
spurious_entry:
    iretq

    // NMI and double fault have stacks of their own and may come at any instruction.
    .globl nmi_entry
nmi_entry:
    push 0
    push 2
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    mov rbp, rsp
    and rsp, -16
    call {nmi}
    mov rsp, rbp
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

    // One stub for each exception, 16 bytes apart; those that come without an error code get a zero.
    .globl fault_stubs
    .balign 16
fault_stubs:
    .set vector, 0
    .rept 32
    .balign 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    push 0
    .endif
    push vector
    jmp fault_entry
    .set vector, vector + 1
    .endr
    .popsection
    "#,
    caller_rsp = sym CALLER_RSP,
    context = sym CONTEXT,
    context_end = sym CONTEXT_END,
    kernel_ss = const KERNEL_SS,
    kernel_cs = const KERNEL_CS,
    vector_syscall = const VECTOR_SYSCALL,
    vector_timer = const VECTOR_TIMER,
    idle_ticks = sym super::apic::IDLE_TICKS,
    stack = sym KERNEL_STACK,
    stack_size = const KERNEL_STACK_SIZE,
    hang_up = const Call::HangUp as u32,
    enter = sym enter,
    fault_in_ring_0 = sym fault_in_ring_0,
    nmi = sym super::nmi::nmi,
);

unsafe extern "C" {
    /// The entry point of `SYSCALL`.
    fn syscall_entry();
    /// What a phone call returns to.
    fn phone_end();
    /// Resumes the process that was chosen last.
    fn resume() -> !;
}

/// Points `SYSCALL` at its entry (AMD64 APM vol. 2, 6.1.1): kernel code at the base of STAR's first selector,
/// and all flags that could disturb the kernel cleared.
pub(super) fn init() {
    const STAR: u32 = 0xc000_0081;
    const LSTAR: u32 = 0xc000_0082;
    const SFMASK: u32 = 0xc000_0084;
    /// Trap, interrupt, direction, I/O level, nested task, alignment check.
    const CLEARED: u64 = 0x4_7700;
    port::write_msr(STAR, u64::from(KERNEL_CS) << 32 | u64::from(USER_SS - 8) << 48);
    port::write_msr(LSTAR, syscall_address());
    port::write_msr(SFMASK, CLEARED);
}

/// The address that LSTAR holds.
pub(super) fn syscall_address() -> u64 {
    syscall_entry as *const () as u64
}

/// Where a function that was called by phone returns to.
pub(super) fn phone_end_address() -> u64 {
    phone_end as *const () as u64
}

/// Sets where the next entry saves registers, and which are resumed. Returns the address for TSS.RSP0.
pub(super) fn set_context(context: u64) -> u64 {
    let end = context + size_of::<Context>() as u64;
    CONTEXT.store(context, Ordering::Relaxed);
    CONTEXT_END.store(end, Ordering::Relaxed);
    end
}

/// Leaves the kernel for the first time.
pub(super) fn leave() -> ! {
    OUTSIDE.store(true, Ordering::Relaxed);
    // SAFETY: `Kernel::schedule` has chosen a process, so CONTEXT points to its valid saved registers, and
    // this stack is not used again: the next entry starts it anew.
    unsafe { resume() }
}

/// What the stubs call, on the kernel stack, with the process's registers saved in its descriptor.
extern "C" fn enter() {
    OUTSIDE.store(false, Ordering::Relaxed);
    machine::with_kernel(GuestKernel::enter);
    OUTSIDE.store(true, Ordering::Relaxed);
}

/// A fault in ring 0: of a process that has an address space of its own and runs there, on the phone for one,
/// or the kernel's own, which is the end. Comes back with the fault in the place of a fault of ring 3, for
/// [`enter`] to judge.
extern "C" fn fault_in_ring_0(frame: &Context) {
    let of_a_process =
        OUTSIDE.load(Ordering::Relaxed) && machine::with_kernel(|kernel| kernel.runs_a_program());
    if !of_a_process {
        panic::fault_in_kernel(frame);
    }
    machine::with_kernel(|kernel| *kernel.current_context() = *frame);
}

/// The one place that knows of hosts where SYSCALL from ring 3 arrives as a page fault: their KVM runs ring 3
/// natively in a ring that may not enter the kernel's pages. The signature is unmistakable: an instruction
/// fetch from ring 3, a protection violation, at the entry point itself; RCX and R11 are as SYSCALL leaves
/// them. Elsewhere nothing ever jumps there from ring 3 but an attacker, who gains a system call by it.
pub(super) fn is_syscall(fault: &Context) -> bool {
    const FETCH_FROM_USER: u64 = 0x15;
    // What an attacker may have put into RCX must be an address that IRETQ takes.
    let canonical = fault.rcx >> 47 == 0;
    fault.error == FETCH_FROM_USER && fault.rip == syscall_address() && port::cr2() == fault.rip && canonical
}
