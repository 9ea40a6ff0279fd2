//! A dump as guest-physical memory.

use std::path::Path;

use address::PAGE_SIZE;
use address::{Frame, GuestPhys};
use zerocopy::FromBytes;

use super::cpu::Cpu;
use super::elf;
use super::error::{DumpError, Remark};
use super::mapped_file::MappedFile;
use super::pieces::Piece;
use super::vmcoreinfo::VmCoreInfo;
use crate::x86::memory::{OutOfRange, PhysicalMemory, Table};
use crate::x86::paging::Paging;

/// A table that is not in the file reads as zeros.
static ZEROS: Table = [0; 512];

/// First bytes of dumps in other formats, and what to do with them.
const OTHER_FORMATS: [(&[u8], &str); 5] = [
    (b"KDUMP   ", "a compressed kdump; `makedumpfile -E` and crash's tools make an ELF core of it"),
    (b"DISKDUMP", "a diskdump; convert it to an ELF core"),
    (b"makedumpfile", "a flattened kdump; `makedumpfile -R` puts it together"),
    (b"EMiL", "a LiME dump; take it with `format=padded` for a raw one"),
    (b"PAGEDU64", "a Windows crash dump"),
];

/// A guest's memory in a file or a byte buffer.
#[derive(Debug)]
pub struct Dump<B = MappedFile> {
    bytes: B,
    pieces: Vec<Piece>,
    cpus: Vec<Cpu>,
    vmcoreinfo: VmCoreInfo,
    remarks: Vec<Remark>,
    is_core: bool,
}

impl Dump {
    /// Opens an ELF core, or any other file as raw memory from address 0 on. The file must not change or
    /// shrink while it is open.
    ///
    /// # Errors
    /// [`DumpError`] if the file cannot be opened or is not a dump.
    pub fn open(path: &Path) -> Result<Self, DumpError> {
        let file = MappedFile::open(path)?;
        if elf::is_elf(file.as_ref()) { Self::core(file) } else { Self::raw(file) }
    }
}

impl<B: AsRef<[u8]>> Dump<B> {
    /// Reads the memory of an ELF core.
    ///
    /// # Errors
    /// [`DumpError`] if it is not a core, or damaged.
    pub fn core(bytes: B) -> Result<Self, DumpError> {
        let elf::Headers { pieces, cpus, vmcoreinfo, remarks } = elf::Headers::parse(bytes.as_ref())?;
        Ok(Self { bytes, pieces, cpus, vmcoreinfo, remarks, is_core: true })
    }

    /// Takes plain bytes as memory; the first is at address 0.
    ///
    /// # Errors
    /// [`DumpError::Empty`], and [`DumpError::OtherFormat`] for a known dump format that is not plain memory.
    pub fn raw(bytes: B) -> Result<Self, DumpError> {
        let all = bytes.as_ref();
        if all.is_empty() {
            return Err(DumpError::Empty);
        }
        if let Some((_, what)) = OTHER_FORMATS.iter().find(|(magic, _)| all.starts_with(magic)) {
            return Err(DumpError::OtherFormat(what));
        }
        let pieces = vec![Piece { start: 0, end: all.len() as u64, file: Some(0) }];
        let (cpus, remarks) = (Vec::new(), Vec::new());
        Ok(Self { bytes, pieces, cpus, vmcoreinfo: VmCoreInfo::default(), remarks, is_core: false })
    }

    /// Returns whether it is an ELF core.
    pub fn is_core(&self) -> bool {
        self.is_core
    }

    /// Returns the memory of the dump: pieces by rising address, without overlaps.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Returns the virtual CPUs, in the order of the notes. A raw dump has none.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// Returns the contents of the note `VMCOREINFO`; empty if there is none.
    pub fn vmcoreinfo(&self) -> &VmCoreInfo {
        &self.vmcoreinfo
    }

    /// Returns the peculiarities of this dump.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Returns the root of the kernel's page tables: the one in `VMCOREINFO`, otherwise CR3 of the first CPU
    /// with paging on. `None` if the dump has neither.
    pub fn root(&self) -> Option<GuestPhys> {
        self.vmcoreinfo.root().or_else(|| self.cpus.iter().find_map(Cpu::root))
    }

    /// Returns whether page tables have five levels, as far as the dump says.
    pub fn five_levels(&self) -> bool {
        let noted = self.vmcoreinfo.five_levels();
        noted.unwrap_or_else(|| self.cpus.iter().any(Cpu::five_levels))
    }

    /// Returns the processor settings that give page-table entries their meaning, as far as the dump says.
    pub fn paging(&self) -> Paging {
        Paging { five_levels: self.five_levels(), ..Paging::default() }
    }

    /// Returns the frames that have at least their first byte in the file, in rising order.
    pub fn frames(&self) -> impl Iterator<Item = Frame> + Clone + '_ {
        let in_file = self.pieces.iter().filter(|piece| piece.file.is_some());
        in_file.flat_map(|piece| (piece.start.div_ceil(PAGE_SIZE)..piece.end.div_ceil(PAGE_SIZE)).map(Frame))
    }

    /// Returns the piece that contains an address, and the address's offset in it.
    fn piece(&self, at: u64) -> Option<(&Piece, u64)> {
        let nth = self.pieces.partition_point(|piece| piece.end <= at);
        let piece = self.pieces.get(nth)?;
        Some((piece, at.checked_sub(piece.start)?))
    }

    /// Returns bytes in place, if all of them lie in one piece that is in the file.
    pub fn slice(&self, at: GuestPhys, len: usize) -> Option<&[u8]> {
        let (piece, within) = self.piece(at.0)?;
        let rest = piece.end - at.0;
        let start = usize::try_from(piece.file? + within).ok()?;
        (len as u64 <= rest).then(|| self.bytes.as_ref().get(start..start.checked_add(len)?))?
    }

    /// Returns the next bytes from an address on, at most `most`: in place, or as a number of zeros with
    /// `None`.
    fn run(&self, at: u64, most: usize) -> Option<(usize, Option<&[u8]>)> {
        let (piece, _) = self.piece(at)?;
        let len = most.min(usize::try_from(piece.end - at).unwrap_or(most));
        match piece.file {
            Some(_) => Some((len, Some(self.slice(GuestPhys(at), len)?))),
            None => Some((len, None)),
        }
    }
}

impl<B: AsRef<[u8]>> PhysicalMemory for Dump<B> {
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange> {
        if let Some(bytes) = self.slice(at, into.len()) {
            into.copy_from_slice(bytes);
            return Ok(());
        }
        // Rare: the bytes span pieces, or are not in the file.
        let outside = OutOfRange { at, len: into.len() as u64 };
        let mut done = 0;
        while done < into.len() {
            let here = at.0.checked_add(done as u64).ok_or(outside)?;
            let (len, bytes) = self.run(here, into.len() - done).ok_or(outside)?;
            match bytes {
                Some(bytes) => into[done..done + len].copy_from_slice(bytes),
                None => into[done..done + len].fill(0),
            }
            done += len;
        }
        Ok(())
    }

    fn has_frame(&self, frame: Frame) -> bool {
        let Some(mut at) = frame.0.checked_mul(PAGE_SIZE) else { return false };
        let end = at.saturating_add(PAGE_SIZE);
        // Nearly always the whole frame lies in one piece: one lookup.
        while at < end {
            let Some((piece, _)) = self.piece(at) else { return false };
            at = piece.end;
        }
        true
    }

    fn table<'a>(&'a self, at: GuestPhys, scratch: &'a mut Table) -> Result<&'a Table, OutOfRange> {
        if let Some(bytes) = self.slice(at, size_of::<Table>()) {
            // A segment that is unaligned in the file has to be copied.
            if let Ok(table) = Table::ref_from_bytes(bytes) {
                return Ok(table);
            }
        } else if self
            .run(at.0, size_of::<Table>())
            .is_some_and(|(len, bytes)| len == 4096 && bytes.is_none())
        {
            return Ok(&ZEROS);
        }
        self.read_table(at, scratch)?;
        Ok(scratch)
    }
}
