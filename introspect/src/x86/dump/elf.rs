//! The headers of an ELF core: its segments and notes, checked.

use address::GuestPhys;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader as _, NoteIterator, ProgramHeader as _};
use object::{LittleEndian as Le, elf::NoteType};

use super::cpu::Cpu;
use super::error::{DumpError, Remark};
use super::limits::{MOST_CPUS, MOST_SEGMENTS};
use super::pieces::{Piece, arrange};
use super::vmcoreinfo::{self, VmCoreInfo};

/// One past the highest physical address of x86-64.
const MEMORY_END: u64 = 1 << 52;

/// The contents of a core's headers and notes.
#[derive(Debug, Default)]
pub(super) struct Headers {
    pub(super) pieces: Vec<Piece>,
    pub(super) cpus: Vec<Cpu>,
    pub(super) vmcoreinfo: VmCoreInfo,
    pub(super) remarks: Vec<Remark>,
}

/// Returns whether these bytes begin with the ELF magic number.
pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

impl Headers {
    /// Reads the headers and notes of a core, nothing else.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DumpError> {
        if !is_elf(bytes) {
            return Err(DumpError::NotElf);
        }
        match (bytes.get(4), bytes.get(5)) {
            (Some(2), Some(1)) => {}
            (Some(1), _) => return Err(DumpError::OtherMachine("a 32-bit machine")),
            (Some(2), Some(2)) => return Err(DumpError::OtherMachine("a big-endian machine")),
            _ => return Err(DumpError::Headers("no known class and byte order")),
        }
        let header =
            FileHeader64::<Le>::parse(bytes).map_err(|_| DumpError::Headers("the first is cut off"))?;
        if header.e_type(Le) != elf::ET_CORE {
            return Err(DumpError::NotCore(header.e_type(Le).0));
        }
        if header.e_machine(Le) != elf::EM_X86_64 {
            return Err(DumpError::OtherMachine("another processor"));
        }
        // With 65535 segments or more, section header 0 holds their number.
        let segments = header
            .program_headers(Le, bytes)
            .map_err(|_| DumpError::Headers("the program headers do not lie in the file"))?;
        if segments.len() > MOST_SEGMENTS {
            return Err(DumpError::TooMany(segments.len()));
        }
        let mut headers = Self::default();
        headers.read_segments(bytes, segments)?;
        headers.read_notes(bytes, segments);
        Ok(headers)
    }

    fn read_segments(&mut self, bytes: &[u8], segments: &[ProgramHeader64<Le>]) -> Result<(), DumpError> {
        let mut pieces = Vec::new();
        let (mut count, mut long, mut somewhere) = (0, 0, false);
        for (nth, segment) in segments.iter().enumerate().filter(|(_, s)| s.p_type(Le) == elf::PT_LOAD) {
            let (at, in_memory) = (segment.p_paddr(Le), segment.p_memsz(Le));
            let (offset, in_file) = (segment.p_offset(Le), segment.p_filesz(Le));
            // Linux's mark for memory without a physical address.
            if in_memory == 0 || at == u64::MAX {
                continue;
            }
            count += 1;
            somewhere |= at != 0;
            let end = at.checked_add(in_memory).filter(|end| *end <= MEMORY_END);
            let outside = DumpError::Outside { segment: nth, at: GuestPhys(at), bytes: in_memory };
            let end = end.ok_or(outside)?;
            long += usize::from(in_file > in_memory);
            let in_file = in_file.min(in_memory);
            let (needed, present) = (offset.saturating_add(in_file), bytes.len() as u64);
            if in_file > 0 && needed > present {
                return Err(DumpError::Truncated { segment: nth, needed, present });
            }
            pieces.push(Piece { start: at, end: at + in_file, file: Some(offset) });
            pieces.push(Piece { start: at + in_file, end, file: None });
        }
        // In the core of a process, physical addresses are zero or meaningless.
        if count > 1 && !somewhere {
            return Err(DumpError::OfProcess(count));
        }
        let (pieces, overlaps) = arrange(&pieces);
        if pieces.is_empty() {
            return Err(DumpError::NoMemory);
        }
        if long > 0 {
            self.remarks.push(Remark::LongInFile(long));
        }
        if overlaps > 0 {
            self.remarks.push(Remark::Overlaps(overlaps));
        }
        let absent =
            pieces.iter().filter(|piece| piece.file.is_none()).map(|piece| piece.end - piece.start).sum();
        if absent > 0 {
            self.remarks.push(Remark::NotInFile(absent));
        }
        self.pieces = pieces;
        Ok(())
    }

    /// Collects the notes about processors and kernel. A damaged note does not affect the others.
    fn read_notes(&mut self, bytes: &[u8], segments: &[ProgramHeader64<Le>]) {
        let (mut status, mut qemu, mut bad) = (Vec::new(), Vec::new(), 0);
        for segment in segments.iter().filter(|s| s.p_type(Le) == elf::PT_NOTE) {
            let data = segment.data(Le, bytes);
            let align = if segment.p_align(Le) == 8 { 8 } else { 4 };
            let notes =
                data.ok().and_then(|data| NoteIterator::<FileHeader64<Le>>::new(Le, align, data).ok());
            let Some(notes) = notes else {
                bad += 1;
                continue;
            };
            for note in notes {
                let Ok(note) = note else {
                    bad += 1;
                    break;
                };
                let cpu = match (note.name(), note.n_type(Le)) {
                    (b"CORE", elf::NT_PRSTATUS) => {
                        Cpu::from_prstatus(note.desc()).map(|cpu| (&mut status, cpu))
                    }
                    (b"QEMU", NoteType(0)) => Cpu::from_qemu(note.desc()).map(|cpu| (&mut qemu, cpu)),
                    (name, _) if name == vmcoreinfo::OWNER.as_bytes() => {
                        if self.vmcoreinfo.is_empty() {
                            self.vmcoreinfo = VmCoreInfo::parse(note.desc());
                        }
                        continue;
                    }
                    _ => continue,
                };
                match cpu {
                    Some((list, cpu)) if list.len() < MOST_CPUS => list.push(cpu),
                    Some(_) => {}
                    None => bad += 1,
                }
            }
        }
        // QEMU's note holds more, so it wins where both exist. Both kinds are in the same order.
        self.cpus = if qemu.len() >= status.len() { qemu } else { status };
        if bad > 0 {
            self.remarks.push(Remark::BadNotes(bad));
        }
    }
}
