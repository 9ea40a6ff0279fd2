//! PVH entry: from 32-bit protected mode without paging to long mode in the higher half.
//!
//! The loader enters at `pvh_start` with EBX holding the address of the start info (Xen, "x86/HVM direct boot
//! ABI"). The first page tables are assembled into the image, so that nothing needs to be computed to get
//! here.

use core::arch::global_asm;

use abi::layout;

global_asm!(
    // The note that makes a loader use the PVH protocol: XEN_ELFNOTE_PHYS32_ENTRY.
    r#"
    .pushsection .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_start
    .popsection

    .pushsection .boot, "awx", @progbits
    .balign 4096
    .globl boot_pml4
boot_pml4:
    .quad boot_pdpt_low + 0x003
    .fill 255, 8, 0
    .quad boot_pdpt_direct + 0x003
    .fill 254, 8, 0
    .quad boot_pdpt_image + 0x003
boot_pdpt_low:
    .quad boot_pd_image + 0x003
    .fill 511, 8, 0
boot_pdpt_direct:
    .quad boot_pd_direct + 0x003
    .fill 511, 8, 0
boot_pdpt_image:
    .fill 510, 8, 0
    .quad boot_pd_image + 0x003
    .quad 0
    // The image, at first with all rights; `start` gives each section its own.
    .globl boot_pd_image
boot_pd_image:
    .quad 0x000083
    .fill 511, 8, 0
    // The direct map: 1 GiB in pages of 2 MiB, writable, not executable.
boot_pd_direct:
    .set page, 0
    .rept 512
    .quad 0x8000000000000083 + page
    .set page, page + 0x200000
    .endr

boot_gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_pointer:
    .word 31
    .long boot_gdt

    .code32
    .globl pvh_start
pvh_start:
    cld
    mov edi, ebx
    // CR4: PAE and nothing else. Above all neither SMEP nor SMAP: a phone call runs user text in ring 0.
    mov eax, 0x20
    mov cr4, eax
    lea eax, boot_pml4
    mov cr3, eax
    // EFER: SCE, LME, NXE.
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x901
    wrmsr
    // CR0: paging, write protection, no floating point (EM), protected mode.
    mov eax, cr0
    or eax, 0x80010005
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    ljmp 0x10, offset boot_long
    .code64
boot_long:
    mov eax, 0x18
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rax, offset boot_high
    jmp rax
    .popsection

    .pushsection .text.boot, "ax", @progbits
boot_high:
    lea rsp, [rip + {stack} + {stack_size}]
    mov edi, edi
    xor ebp, ebp
    call {start}
    ud2
    .popsection
    "#,
    stack = sym super::entry::KERNEL_STACK,
    stack_size = const super::entry::KERNEL_STACK_SIZE,
    start = sym super::start::start,
);

// The addresses of `abi` as absolute symbols, for the linker script.
global_asm!(
    ".globl ABI_KERNEL_PHYS, ABI_KERNEL_BASE, ABI_MODULE_PHYS, ABI_PUBLISHED_PHYS, ABI_KERNEL_PHYS_END",
    ".set ABI_KERNEL_PHYS, {kernel}",
    ".set ABI_KERNEL_BASE, {base}",
    ".set ABI_MODULE_PHYS, {module}",
    ".set ABI_PUBLISHED_PHYS, {published}",
    ".set ABI_KERNEL_PHYS_END, {end}",
    kernel = const layout::KERNEL_PHYS,
    base = const layout::KERNEL_BASE,
    module = const layout::MODULE_PHYS,
    published = const layout::PUBLISHED_PHYS,
    end = const layout::KERNEL_PHYS_END,
);
