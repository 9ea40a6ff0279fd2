//! The guests that are measured, in machine code; those of `floor.c`, byte by byte.

use devices::watchdog::Timeout;

use crate::error::Error;
use vmm::machine::MachineConfig;
use vmm::machine::tiny;

/// Memory of a guest, MiB.
pub(super) const MEMORY_MIB: u32 = 64;

/// Says one byte on its serial port, and halts.
#[rustfmt::skip]
pub(super) const SPEAKER: [u8; 10] = [
    0x66, 0xba, 0xf8, 0x03,    // mov dx, 0x3f8
    0xb0, b'A',                // mov al, 'A'
    0xee,                      // out dx, al
    0xf4,                      // halt: hlt
    0xeb, 0xfd,                // jmp halt
];

/// Rings, for ever.
#[rustfmt::skip]
pub(super) const RINGER: [u8; 9] = [
    0xb8, 2, 0, 0, 0,          // mov eax, 2
    0xe7, 0xf8,                // again: out 0xf8, eax
    0xeb, 0xfc,                // jmp again
];

/// In 64-bit mode, where kernels are ([`tiny::enter_kernel`]): rings at A and at B, writes a word into so many pages from
/// 2 MiB on, half its own address, rings at C, and again.
#[rustfmt::skip]
pub(super) fn writer(pages: u32) -> [u8; 41] {
    let [n0, n1, n2, n3] = pages.to_le_bytes();
    [
        0xb8, 2, 0, 0, 0,              // mov eax, 2
        0xe7, 0xf8,                    // A: out 0xf8, eax
        0xe7, 0xf8,                    // B: out 0xf8, eax
        0x48, 0xbf, 0, 0, 0x20, 0x80,  // mov rdi, 0xffffffff80200000
        0xff, 0xff, 0xff, 0xff,
        0xb9, n0, n1, n2, n3,          // mov ecx, pages
        0x89, 0x3f,                    // page: mov [rdi], edi
        0x48, 0x81, 0xc7, 0, 0x10, 0, 0, // add rdi, 0x1000
        0xff, 0xc9,                    // dec ecx
        0x75, 0xf3,                    // jnz page
        0xe7, 0xf8,                    // C: out 0xf8, eax
        0xeb, 0xdc,                    // jmp A
    ]
}

/// What a guest of this code is built from.
pub(super) fn config(code: &[u8]) -> Result<MachineConfig, Error> {
    let config = tiny::config("a guest to measure", code, MEMORY_MIB)?;
    Ok(MachineConfig { timeout: Timeout::Ticks(1), ..config })
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::code_asm::*;

    #[test]
    fn the_bytes_are_the_instructions() {
        let mut a = CodeAssembler::new(64).unwrap();
        let (mut again, mut page) = (a.create_label(), a.create_label());
        a.mov(eax, 2).unwrap();
        a.set_label(&mut again).unwrap();
        a.out(0xf8, eax).unwrap();
        a.out(0xf8, eax).unwrap();
        a.mov(rdi, tiny::KERNEL + 0x20_0000).unwrap();
        a.mov(ecx, 0x1234).unwrap();
        a.set_label(&mut page).unwrap();
        a.mov(dword_ptr(rdi), edi).unwrap();
        a.add(rdi, 0x1000).unwrap();
        a.dec(ecx).unwrap();
        a.jne(page).unwrap();
        a.out(0xf8, eax).unwrap();
        a.jmp(again).unwrap();
        let at = tiny::KERNEL + tiny::BASE + tiny::CODE_AT;
        assert_eq!(a.assemble(at).unwrap(), writer(0x1234));
    }
}
