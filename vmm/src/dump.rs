//! Core files: a guest's memory and registers as an ELF core, for gdb, drgn, Volatility and our own `inspect`.
//!
//! ```text
//! ELF header, program headers      one PT_NOTE, then one PT_LOAD for each region of memory
//! NT_PRSTATUS                      the registers, in Linux's layout for x86-64
//! memory                           region after region, from a page boundary on; pages of zeros are holes
//! ```
//!
//! Addresses in the file are guest-physical. Source: System V ABI (ELF), Linux `include/uapi/linux/elfcore.h`.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use abi::layout::PAGE_SIZE;
use introspect::memory::PhysicalMemory;
use object::elf;

use crate::machine::Registers;
use crate::memory::GuestMemory;

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
/// Bytes of `struct elf_prstatus`.
const PRSTATUS_BYTES: usize = 336;
/// Offset of the registers in it.
const PRSTATUS_REGS: usize = 112;
/// Memory is read and written in pieces of this size.
const PIECE: usize = 64 << 10;

/// Writes a core file of this memory and these registers.
pub fn write(file: &mut File, memory: &GuestMemory, registers: &Registers) -> io::Result<()> {
    let regions: Vec<_> = memory.regions().collect();
    let note = note(registers);
    let note_at = HEADER_BYTES + PROGRAM_HEADER_BYTES * (regions.len() + 1);
    let memory_at = ((note_at + note.len()) as u64).next_multiple_of(PAGE_SIZE);

    let mut head = elf_header(regions.len() as u16 + 1);
    program_header(&mut head, elf::PT_NOTE.0, 0, note_at as u64, 0, note.len() as u64, 4);
    let mut at = memory_at;
    for region in &regions {
        let all = (elf::PF_R | elf::PF_W | elf::PF_X).0;
        program_header(&mut head, elf::PT_LOAD.0, all, at, region.start.0, region.bytes, PAGE_SIZE);
        at += region.bytes;
    }
    file.write_all(&head)?;
    file.write_all(&note)?;

    let mut piece = vec![0; PIECE];
    let mut at = memory_at;
    for region in &regions {
        for offset in (0..region.bytes).step_by(PIECE) {
            let len = PIECE.min((region.bytes - offset) as usize);
            memory.read(region.start.add(offset), &mut piece[..len]).map_err(io::Error::other)?;
            if piece[..len].iter().any(|byte| *byte != 0) {
                file.seek(SeekFrom::Start(at + offset))?;
                file.write_all(&piece[..len])?;
            }
        }
        at += region.bytes;
    }
    file.set_len(at)
}

fn elf_header(program_headers: u16) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEADER_BYTES);
    head.extend(elf::ELFMAG);
    // ELF64, little-endian, version 1.
    head.extend([2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for half in [elf::ET_CORE.0, elf::EM_X86_64.0] {
        head.extend(half.to_le_bytes());
    }
    head.extend(1_u32.to_le_bytes());
    for double in [0, HEADER_BYTES as u64, 0] {
        head.extend(double.to_le_bytes());
    }
    head.extend(0_u32.to_le_bytes());
    for half in [HEADER_BYTES as u16, PROGRAM_HEADER_BYTES as u16, program_headers, 0, 0, 0] {
        head.extend(half.to_le_bytes());
    }
    head
}

fn program_header(head: &mut Vec<u8>, kind: u32, flags: u32, offset: u64, at: u64, bytes: u64, align: u64) {
    head.extend(kind.to_le_bytes());
    head.extend(flags.to_le_bytes());
    // Offset, virtual address, physical address, bytes in the file, bytes in memory, alignment.
    for double in [offset, at, at, bytes, bytes, align] {
        head.extend(double.to_le_bytes());
    }
}

fn note(registers: &Registers) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [5, PRSTATUS_BYTES as u32, elf::NT_PRSTATUS.0] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"CORE\0\0\0\0");
    let start = note.len();
    note.resize(start + PRSTATUS_REGS, 0);
    // The process id: one vCPU, called 1.
    note[start + 32..start + 36].copy_from_slice(&1_u32.to_le_bytes());
    let (r, s) = (&registers.general, &registers.system);
    let segment = |selector: u16| u64::from(selector);
    let values = [
        r.r15,
        r.r14,
        r.r13,
        r.r12,
        r.rbp,
        r.rbx,
        r.r11,
        r.r10,
        r.r9,
        r.r8,
        r.rax,
        r.rcx,
        r.rdx,
        r.rsi,
        r.rdi,
        u64::MAX, // no system call
        r.rip,
        segment(s.cs.selector),
        r.rflags,
        r.rsp,
        segment(s.ss.selector),
        s.fs.base,
        s.gs.base,
        segment(s.ds.selector),
        segment(s.es.selector),
        segment(s.fs.selector),
        segment(s.gs.selector),
    ];
    for value in values {
        note.extend(value.to_le_bytes());
    }
    note.resize(start + PRSTATUS_BYTES, 0);
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::GuestPhys;
    use kvm_bindings::{kvm_regs, kvm_sregs};
    use object::LittleEndian as Le;
    use object::read::elf::{FileHeader as _, ProgramHeader as _};

    #[test]
    fn a_core_file_reads_back_with_its_registers_and_memory() {
        let memory = GuestMemory::new(2).unwrap();
        memory.write(GuestPhys(0x10_0000), b"text").unwrap();
        memory.write(GuestPhys((2 << 20) - 1), &[9]).unwrap();
        let general = kvm_regs { rip: 0xffff_ffff_8010_0000, r15: 15, rsp: 0x7000, ..Default::default() };
        let registers = Registers { general, system: kvm_sregs::default() };
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, &memory, &registers).unwrap();

        let mut bytes = Vec::new();
        file.rewind().unwrap();
        io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        let header = elf::FileHeader64::<Le>::parse(bytes.as_slice()).unwrap();
        assert_eq!(header.e_type(Le), elf::ET_CORE);
        let [note, load] = header.program_headers(Le, bytes.as_slice()).unwrap() else { panic!() };
        assert_eq!((load.p_vaddr(Le), load.p_paddr(Le), load.p_memsz(Le)), (0, 0, 2 << 20));
        let ram = load.data(Le, bytes.as_slice()).unwrap();
        assert_eq!((&ram[0x10_0000..0x10_0004], ram[(2 << 20) - 1]), (&b"text"[..], 9));

        let mut notes = note.notes(Le, bytes.as_slice()).unwrap().unwrap();
        let status = notes.next().unwrap().unwrap();
        assert_eq!((status.name(), status.desc().len()), (&b"CORE"[..], PRSTATUS_BYTES));
        let register = |n: usize| {
            let at = PRSTATUS_REGS + 8 * n;
            u64::from_le_bytes(status.desc()[at..at + 8].try_into().unwrap())
        };
        assert_eq!((register(0), register(16), register(19)), (15, 0xffff_ffff_8010_0000, 0x7000));
        assert!(notes.next().unwrap().is_none());
    }

    #[test]
    fn empty_memory_takes_no_space() {
        use std::os::unix::fs::MetadataExt;
        let memory = GuestMemory::new(64).unwrap();
        let registers = Registers { general: kvm_regs::default(), system: kvm_sregs::default() };
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, &memory, &registers).unwrap();
        let about = file.metadata().unwrap();
        assert!(about.len() > 64 << 20 && about.blocks() * 512 < 1 << 20);
    }
}
