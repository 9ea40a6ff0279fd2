//! Writes ELF cores of a machine, for gdb, drgn, Volatility and [`Dump`](super::Dump).
//!
//! ```text
//! ELF header, program headers      one PT_NOTE, then one PT_LOAD for each region of memory
//! notes                            CORE (NT_PRSTATUS) of each processor, QEMU of each processor, VMCOREINFO
//! memory                           the regions in order, from a page boundary on; zero pages are holes
//! ```
//!
//! Sources: System V ABI (ELF), Linux `include/uapi/linux/elfcore.h`, QEMU `dump/dump.c`.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use address::GuestPhys;
use address::PAGE_SIZE;
use object::elf;

use super::cpu::Cpu;
use super::vmcoreinfo::{self, VmCoreInfo};
use crate::x86::memory::PhysicalMemory;

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
/// Memory is copied in pieces of this size.
const PIECE: usize = 64 << 10;

/// A region of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Its first address.
    pub start: GuestPhys,
    /// Its length.
    pub bytes: u64,
    /// The virtual address given to debuggers: one at which the kernel maps it.
    pub virt: u64,
}

/// The contents of a core.
#[derive(Clone, Copy, Debug)]
pub struct CoreWriter<'a> {
    /// Memory, by rising address. At most 65,000 regions.
    pub regions: &'a [Region],
    /// The virtual CPUs.
    pub cpus: &'a [Cpu],
    /// The note that locates the page tables.
    pub vmcoreinfo: &'a VmCoreInfo,
}

impl CoreWriter<'_> {
    /// Writes the core at the start of a file. Zero pages become holes and take no space.
    ///
    /// # Errors
    /// The system's error; `InvalidInput` for too many regions; `UnexpectedEof` if a region is not memory.
    pub fn write<M: PhysicalMemory + ?Sized>(&self, memory: &M, file: &mut File) -> io::Result<()> {
        let notes = self.notes();
        let headers = u16::try_from(self.regions.len() + 1).ok().filter(|count| *count < elf::PN_XNUM);
        let headers = headers.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let notes_at = HEADER_BYTES + PROGRAM_HEADER_BYTES * usize::from(headers);
        let memory_at = ((notes_at + notes.len()) as u64).next_multiple_of(PAGE_SIZE);

        let mut head = elf_header(headers);
        program_header(&mut head, elf::PT_NOTE.0, 0, notes_at as u64, [0, 0, notes.len() as u64], 4);
        let mut at = memory_at;
        for region in self.regions {
            let all = (elf::PF_R | elf::PF_W | elf::PF_X).0;
            let place = [region.virt, region.start.0, region.bytes];
            program_header(&mut head, elf::PT_LOAD.0, all, at, place, PAGE_SIZE);
            at += region.bytes;
        }
        file.write_all(&head)?;
        file.write_all(&notes)?;

        let mut piece = vec![0; PIECE];
        let mut at = memory_at;
        for region in self.regions {
            for offset in (0..region.bytes).step_by(PIECE) {
                let len = PIECE.min((region.bytes - offset) as usize);
                let piece = &mut piece[..len];
                let read = memory.read(region.start.add(offset), piece);
                read.map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error))?;
                if piece.iter().any(|byte| *byte != 0) {
                    file.seek(SeekFrom::Start(at + offset))?;
                    file.write_all(piece)?;
                }
            }
            at += region.bytes;
        }
        file.set_len(at)
    }

    fn notes(&self) -> Vec<u8> {
        let mut notes = Vec::new();
        for (number, cpu) in (1..).zip(self.cpus) {
            note(&mut notes, "CORE", elf::NT_PRSTATUS.0, &cpu.to_prstatus(number));
        }
        for cpu in self.cpus.iter().filter(|cpu| cpu.control.is_some()) {
            note(&mut notes, "QEMU", 0, &cpu.to_qemu());
        }
        if !self.vmcoreinfo.is_empty() {
            note(&mut notes, vmcoreinfo::OWNER, 0, self.vmcoreinfo.to_text().as_bytes());
        }
        notes
    }
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

/// `place` holds the virtual address, the physical address and the size.
fn program_header(head: &mut Vec<u8>, kind: u32, flags: u32, offset: u64, place: [u64; 3], align: u64) {
    let [virt, phys, bytes] = place;
    head.extend(kind.to_le_bytes());
    head.extend(flags.to_le_bytes());
    // Size in the file, size in memory.
    for double in [offset, virt, phys, bytes, bytes, align] {
        head.extend(double.to_le_bytes());
    }
}

fn note(notes: &mut Vec<u8>, owner: &str, kind: u32, contents: &[u8]) {
    for word in [owner.len() as u32 + 1, contents.len() as u32, kind] {
        notes.extend(word.to_le_bytes());
    }
    notes.extend(owner.as_bytes());
    notes.push(0);
    notes.resize(notes.len().next_multiple_of(4), 0);
    notes.extend(contents);
    notes.resize(notes.len().next_multiple_of(4), 0);
}
