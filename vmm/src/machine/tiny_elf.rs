//! An ELF file around a few instructions: the smallest PVH kernel that the loader takes.

/// Where the image is loaded; the code stands behind its headers.
pub const BASE: u64 = 0x10_0000;

/// Where the note is in the file.
const NOTE_AT: u64 = 64 + 2 * 56;
const NOTE_BYTES: u64 = 20;
/// Where the code is, from [`BASE`] on.
pub const CODE_AT: u64 = NOTE_AT + NOTE_BYTES;

/// This 32-bit code as a PVH kernel: an ELF file with its header, one segment to load, one PVH note, and the
/// code behind them, which is its entry.
pub fn elf(code: &[u8]) -> Vec<u8> {
    let bytes = CODE_AT + code.len() as u64;
    let mut elf = Vec::new();
    // ELF64, little-endian; an executable for x86-64.
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0");
    for double in [BASE + CODE_AT, 64, 0] {
        elf.extend(double.to_le_bytes());
    }
    for half in [0_u16, 0, 64, 56, 2, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    // Program headers: type and flags; offset, virtual and physical address, bytes in file and memory,
    // alignment.
    for (kind, offset, bytes, align) in
        [(1_u64 | 7 << 32, 0, bytes, 4096), (4 | 4 << 32, NOTE_AT, NOTE_BYTES, 4)]
    {
        for double in [kind, offset, BASE + offset, BASE + offset, bytes, bytes, align] {
            elf.extend(u64::to_le_bytes(double));
        }
    }
    for word in [4_u32, 4, 18] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(b"Xen\0");
    elf.extend(((BASE + CODE_AT) as u32).to_le_bytes());
    elf.extend(code);
    elf
}
