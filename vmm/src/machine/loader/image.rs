//! Kernel images and boot modules: reading and checking them.

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use abi::GuestPhys;
use object::LittleEndian as Le;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader as _, NoteIterator, ProgramHeader as _};

use crate::machine::loader::error::{ImageError, Problem};
use crate::machine::loader::layout;

/// Largest file that is read.
pub const MAX_FILE: u64 = 1 << 30;
/// Most program headers of an image.
const MAX_HEADERS: usize = 512;
/// Xen's note that holds the 32-bit physical entry point (Xen `public/elfnote.h`).
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// Where an image or a module comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A file.
    File(PathBuf),
    /// Bytes that are part of this program.
    Embedded {
        /// What messages call it.
        name: &'static str,
        /// The bytes.
        bytes: &'static [u8],
    },
}

/// The bytes of a file, with the name that messages use.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The name.
    pub name: String,
    /// The bytes. At least one.
    pub bytes: Cow<'static, [u8]>,
}

impl Blob {
    /// Reads it.
    pub fn read(source: &ImageSource) -> Result<Self, ImageError> {
        match source {
            ImageSource::File(path) => {
                let bytes = read_file(path).map_err(|problem| ImageError::path(path, problem))?;
                Ok(Self { name: path.display().to_string(), bytes: bytes.into() })
            }
            ImageSource::Embedded { name, bytes } => {
                Ok(Self { name: (*name).to_owned(), bytes: Cow::Borrowed(bytes) })
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let file = File::open(path).map_err(Problem::Unreadable)?;
    let about = file.metadata().map_err(Problem::Unreadable)?;
    if about.is_file() && about.len() > MAX_FILE {
        return Err(Problem::FileTooLarge { limit: MAX_FILE });
    }
    // A pipe has no length. Room for the maximum is reserved then, of which the host provides only what is
    // filled: a vector that grows would be copied.
    let room = if about.is_file() { about.len() } else { MAX_FILE + 1 };
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(room as usize).map_err(|_| Problem::Unreadable(ErrorKind::OutOfMemory.into()))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Problem::Unreadable)?;
    match bytes.len() as u64 {
        0 => Err(Problem::Empty),
        len if len > MAX_FILE => Err(Problem::FileTooLarge { limit: MAX_FILE }),
        _ => Ok(bytes),
    }
}

/// A piece of a kernel in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its place in the program headers, from 0.
    pub index: usize,
    /// First address.
    pub start: u64,
    /// One past the last address that is loaded from the file.
    pub file_end: u64,
    /// One past the last address; what is not loaded from the file is zero.
    pub end: u64,
}

/// A kernel that has passed all checks that need no guest.
#[derive(Clone, Debug)]
pub struct Image {
    blob: Blob,
    entry: GuestPhys,
    /// In rising order, none overlapping.
    segments: Vec<Segment>,
}

impl Image {
    /// Reads and checks an image.
    pub fn read(source: &ImageSource) -> Result<Self, ImageError> {
        Self::check(Blob::read(source)?)
    }

    /// Checks an image that was read already.
    pub fn check(blob: Blob) -> Result<Self, ImageError> {
        match check(&blob.bytes) {
            Ok((entry, segments)) => Ok(Self { entry, segments, blob }),
            Err(problem) => Err(ImageError { name: blob.name, problem }),
        }
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.blob.bytes
    }

    /// The name in messages.
    pub fn name(&self) -> &str {
        &self.blob.name
    }

    /// Where the kernel begins.
    pub fn entry(&self) -> GuestPhys {
        self.entry
    }

    /// What it wants of memory, in rising order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

fn check(bytes: &[u8]) -> Result<(GuestPhys, Vec<Segment>), Problem> {
    if bytes.is_empty() {
        return Err(Problem::Empty);
    }
    let headers = program_headers(bytes)?;
    let mut segments = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        check_inside(bytes, index, header)?;
        if header.p_type(Le) == elf::PT_LOAD && header.p_memsz(Le) > 0 {
            segments.push(segment(index, header)?);
        }
    }
    if segments.is_empty() {
        return Err(Problem::NoSegments);
    }
    segments.sort_by_key(|segment| segment.start);
    for pair in segments.windows(2) {
        if pair[1].start < pair[0].end {
            return Err(Problem::Overlap { first: pair[0].index, second: pair[1].index, at: pair[1].start });
        }
    }
    let entry = pvh_entry(bytes, headers)?.ok_or(Problem::NoPvhNote)?;
    if !segments.iter().any(|segment| (segment.start..segment.file_end).contains(&entry.0)) {
        return Err(Problem::EntryOutside(entry.0));
    }
    Ok((entry, segments))
}

/// The program headers of an ELF64 x86-64 executable.
fn program_headers(bytes: &[u8]) -> Result<&[ProgramHeader64<Le>], Problem> {
    let wrong = |what: String| Err(Problem::WrongKind(what));
    let truncated =
        |what: &str, end: u64| Problem::Truncated { what: what.into(), end, bytes: bytes.len() as u64 };
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(Problem::NotElf);
    }
    let header_bytes = size_of::<FileHeader64<Le>>() as u64;
    // Class and byte order stand in bytes 4 and 5, in both classes.
    match bytes.get(4..6) {
        Some([2, 1]) => {}
        Some([1, _]) => return wrong("32 bits (ELF32)".into()),
        Some([2, 2]) => return wrong("big-endian".into()),
        Some([class, order]) => return wrong(format!("class {class}, byte order {order}")),
        _ => return Err(truncated("ELF header", header_bytes)),
    }
    if (bytes.len() as u64) < header_bytes {
        return Err(truncated("ELF header", header_bytes));
    }
    let header = FileHeader64::<Le>::parse(bytes).map_err(|e| Problem::BadHeader(e.to_string()))?;
    let (machine, kind) = (header.e_machine(Le), header.e_type(Le));
    if machine != elf::EM_X86_64 {
        return wrong(format!("machine {}, not x86-64 (62)", machine.0));
    }
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return wrong(format!("type {}, not an executable (2) or shared object (3)", kind.0));
    }
    let count = usize::from(header.e_phnum(Le));
    if count == 0 {
        return Err(Problem::NoSegments);
    }
    if count > MAX_HEADERS {
        return Err(Problem::BadHeader(format!("{count} program headers; {MAX_HEADERS} are the most")));
    }
    if header.e_phoff(Le) < header_bytes {
        return Err(Problem::BadHeader("the program headers lie inside of the ELF header".into()));
    }
    let table_bytes = count as u64 * u64::from(header.e_phentsize(Le));
    let table_end = header.e_phoff(Le).saturating_add(table_bytes);
    if table_end > bytes.len() as u64 {
        return Err(truncated("table of program headers", table_end));
    }
    header.program_headers(Le, bytes).map_err(|e| Problem::BadHeader(e.to_string()))
}

/// What a loaded segment or a note says it has in the file must be there.
fn check_inside(bytes: &[u8], index: usize, header: &ProgramHeader64<Le>) -> Result<(), Problem> {
    let kind = header.p_type(Le);
    if kind != elf::PT_LOAD && kind != elf::PT_NOTE {
        return Ok(());
    }
    let end = header.p_offset(Le).saturating_add(header.p_filesz(Le));
    if header.p_filesz(Le) > 0 && end > bytes.len() as u64 {
        let what = format!("{} {index}", if kind == elf::PT_LOAD { "segment" } else { "note segment" });
        return Err(Problem::Truncated { what, end, bytes: bytes.len() as u64 });
    }
    Ok(())
}

fn segment(index: usize, header: &ProgramHeader64<Le>) -> Result<Segment, Problem> {
    let (start, in_file, in_memory) = (header.p_paddr(Le), header.p_filesz(Le), header.p_memsz(Le));
    if in_file > in_memory {
        return Err(Problem::BadHeader(format!(
            "segment {index} has {in_file} bytes in the file, but {in_memory} in memory"
        )));
    }
    let Some(end) = start.checked_add(in_memory) else {
        return Err(Problem::BadHeader(format!("segment {index} ends beyond the last address there is")));
    };
    let segment = Segment { index, start, file_end: start + in_file, end };
    match layout::forbidden(start, end) {
        Some(why) => Err(Problem::Misplaced { index, start, end, why }),
        None => Ok(segment),
    }
}

/// The entry point in the first PVH note.
fn pvh_entry(bytes: &[u8], headers: &[ProgramHeader64<Le>]) -> Result<Option<GuestPhys>, Problem> {
    let broken = |e: object::read::Error| Problem::BadPvhNote(e.to_string());
    for header in headers.iter().filter(|header| header.p_type(Le) == elf::PT_NOTE) {
        let data =
            header.data(Le, bytes).map_err(|()| Problem::BadPvhNote("it is not in the file".into()))?;
        let align = if header.p_align(Le) == 8 { 8 } else { 4 };
        let mut notes = NoteIterator::<FileHeader64<Le>>::new(Le, align, data).map_err(broken)?;
        while let Some(note) = notes.next().map_err(broken)? {
            if note.name() != b"Xen" || note.n_type(Le).0 != XEN_ELFNOTE_PHYS32_ENTRY {
                continue;
            }
            // 4 bytes, or 8 of which the upper ones are zero: Linux and Xen write either.
            let entry = match *note.desc() {
                [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                _ => return Err(Problem::BadPvhNote(format!("its entry has {} bytes", note.desc().len()))),
            };
            if entry > u64::from(u32::MAX) {
                return Err(Problem::BadPvhNote(format!("its entry {entry:#x} has more than 32 bits")));
            }
            return Ok(Some(GuestPhys(entry)));
        }
    }
    Ok(None)
}
