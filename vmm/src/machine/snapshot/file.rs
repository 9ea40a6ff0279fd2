//! Snapshots as files.
//!
//! ```text
//! 0         header: magic, version, lengths, checksum
//! 80        the guest's state but for its memory, as JSON
//! 4096 * n  its memory, region after region; pages of zeros are holes in the file
//! ```
//!
//! The file is mapped, not read: a guest that is started from it reads unwritten pages from the file itself.
//! So the file must not change while a guest runs. The checksum (BLAKE3) covers header, state and memory; it
//! is checked before anything is believed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use abi::info::Doorbell;
use abi::layout::PAGE_SIZE;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{Error, Report};
use crate::host::kvm::CpuState;
use crate::host::memory::{Backing, MAX_MIB, MIN_MIB, WholeMemory};
use crate::machine::board::BoardState;
use crate::machine::event::Event;
use crate::machine::snapshot::data::Snapshot;

const MAGIC: [u8; 8] = *b"ARCHSNAP";
/// Version of the format; raise it with each change.
const VERSION: u32 = 1;
/// Most bytes of state: far more than there can be.
const MOST_STATE: u64 = 16 << 20;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: u32,
    memory_mib: u32,
    state_bytes: u64,
    /// Where memory begins.
    memory_at: u64,
    file_bytes: u64,
    reserved: u64,
    /// Of everything, with zeros here.
    checksum: [u8; 32],
}

/// What a snapshot was taken of: the hashes of image and boot module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// SHA-256 of the kernel's image.
    pub image_sha256: String,
    /// Of the boot module, if it is not the image's own.
    pub module_sha256: Option<String>,
}

/// Everything but memory.
#[derive(Serialize, Deserialize)]
struct State<B, C> {
    origin: Origin,
    cpu: C,
    board: B,
    told: Vec<Told>,
    console: Vec<u8>,
}

/// An event in its serialised form. Events that end a guest are in no snapshot.
#[derive(Serialize, Deserialize)]
enum Told {
    Doorbell(u32),
    WatchdogChanged,
    OutputWaits,
    Stray { at: u64, bytes: u8, write: bool, port: bool },
}

impl Told {
    fn of(event: &Event) -> Option<Self> {
        Some(match *event {
            Event::Doorbell { reason, page } => Self::Doorbell(reason.value(page)),
            Event::WatchdogChanged => Self::WatchdogChanged,
            Event::OutputWaits => Self::OutputWaits,
            Event::Stray { at, bytes, write, port } => Self::Stray { at, bytes, write, port },
            _ => return None,
        })
    }

    fn event(&self) -> Option<Event> {
        Some(match *self {
            Self::Doorbell(value) => {
                let (reason, page) = Doorbell::parse(value)?;
                Event::Doorbell { reason, page }
            }
            Self::WatchdogChanged => Event::WatchdogChanged,
            Self::OutputWaits => Event::OutputWaits,
            Self::Stray { at, bytes, write, port } => Event::Stray { at, bytes, write, port },
        })
    }
}

/// Writes a snapshot into an empty file.
pub fn save(snapshot: &Snapshot, origin: &Origin, file: &mut File) -> io::Result<()> {
    let told: Option<Vec<_>> = snapshot.board().queue.iter().map(Told::of).collect();
    let told =
        told.ok_or_else(|| io::Error::other("the guest has ended: no guest can be started from there"))?;
    let state = State {
        origin: origin.clone(),
        cpu: snapshot.cpu(),
        board: snapshot.board(),
        told,
        console: snapshot.console().to_vec(),
    };
    let state = serde_json::to_vec(&state)?;
    let memory_at = (size_of::<Header>() as u64 + state.len() as u64).next_multiple_of(PAGE_SIZE);
    let memory_mib = snapshot.memory().memory_mib();
    let mut header = Header {
        magic: MAGIC,
        version: VERSION,
        memory_mib,
        state_bytes: state.len() as u64,
        memory_at,
        file_bytes: memory_at + (u64::from(memory_mib) << 20),
        reserved: 0,
        checksum: [0; 32],
    };
    header.checksum = checksum(&header, &state, snapshot.memory());
    file.write_all(header.as_bytes())?;
    file.write_all(&state)?;
    let mut written = Ok(());
    let mut at = memory_at;
    snapshot.memory().each_page(|_, page| {
        if written.is_ok() && page.iter().any(|byte| *byte != 0) {
            written = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(page));
        }
        at += PAGE_SIZE;
    });
    written?;
    file.set_len(header.file_bytes)
}

/// Opens a snapshot that `option` names.
pub fn load(option: &str, path: &Path) -> Result<(Snapshot, Origin), Error> {
    let unreadable = |error: io::Error| Error::Input(Report::file("read", option, path, &error));
    let wrong = |what: String| {
        let remedy = "take the snapshot again, with --save-snapshot of this program";
        Error::Input(Report::new(what, format!("{option} {}", path.display()), remedy))
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    let mut read = Vec::new();
    Read::take(&mut file, size_of::<Header>() as u64).read_to_end(&mut read).map_err(unreadable)?;
    if !read.starts_with(&MAGIC[..read.len().min(MAGIC.len())]) || read.is_empty() {
        return Err(wrong("this is not a snapshot".into()));
    }
    let Ok(header) = Header::read_from_bytes(&read) else {
        return Err(wrong(format!("the snapshot is truncated: it has only {bytes} bytes")));
    };
    if header.version != VERSION {
        return Err(wrong(format!(
            "the snapshot has version {}, this program reads version {VERSION}",
            header.version
        )));
    }
    let corrupted = || wrong("the snapshot is corrupted: its checksum is not that of what is in it".into());
    let memory_at = (size_of::<Header>() as u64).saturating_add(header.state_bytes);
    if header.state_bytes > MOST_STATE
        || !(MIN_MIB..=MAX_MIB).contains(&header.memory_mib)
        || header.memory_at != memory_at.next_multiple_of(PAGE_SIZE)
        || header.file_bytes != header.memory_at + (u64::from(header.memory_mib) << 20)
    {
        return Err(corrupted());
    }
    if bytes < header.file_bytes {
        let whole = header.file_bytes;
        return Err(wrong(format!("the snapshot is truncated: it has {bytes} of {whole} bytes")));
    }
    let mut text = vec![0; header.state_bytes as usize];
    file.read_exact(&mut text).map_err(unreadable)?;
    let memory = Backing::of(Arc::new(file), header.memory_at, header.memory_mib)?;
    if checksum(&header, &text, &memory) != header.checksum {
        return Err(corrupted());
    }
    let state: State<BoardState, CpuState> = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("the snapshot's state cannot be read: {error}")))?;
    let State { origin, cpu, board, told, console } = state;
    let told: Vec<_> = told.iter().filter_map(Told::event).collect();
    Ok((Snapshot::new(cpu, board, memory).with_history(told, console), origin))
}

/// Of header, state, and all pages that are not zero, each with its number.
fn checksum(header: &Header, state: &[u8], memory: &Backing) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(Header { checksum: [0; 32], ..*header }.as_bytes());
    hasher.update(state);
    memory.each_page(|at, page| {
        if page.iter().any(|byte| *byte != 0) {
            hasher.update(&at.0.to_le_bytes());
            hasher.update(page);
        }
    });
    *hasher.finalize().as_bytes()
}
