//! The contents of memory at one moment, frozen in a file.

use std::fs::File;
use std::sync::Arc;

use abi::layout::PAGE_SIZE;
use abi::{Frame, GuestPhys};
use introspect::x86::memory::{OutOfRange, PhysicalMemory};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::error::HostError;
use crate::host::memory::mapping::map_regions;
use crate::host::memory::regions::regions;

/// The contents of a guest's memory at one moment. They never change again.
#[derive(Clone)]
pub struct Backing {
    file: Arc<File>,
    /// Where in the file it begins: a multiple of the page size. The regions follow each other.
    offset: u64,
    memory_mib: u32,
    map: Arc<GuestMemoryMmap<()>>,
}

impl Backing {
    /// The contents of a file from `offset` on, a multiple of the page size. The file must not change while
    /// this lives.
    ///
    /// # Errors
    ///
    /// The file cannot be mapped.
    pub fn of(file: Arc<File>, offset: u64, memory_mib: u32) -> Result<Self, HostError> {
        let flags = libc::MAP_NORESERVE | libc::MAP_PRIVATE;
        let map = Arc::new(map_regions(&regions(memory_mib), Some(&file), offset, flags)?);
        Ok(Self { file, offset, memory_mib, map })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn map(&self) -> &GuestMemoryMmap<()> {
        &self.map
    }

    /// Memory of the guest, MiB.
    pub fn memory_mib(&self) -> u32 {
        self.memory_mib
    }
}

impl PhysicalMemory for Backing {
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange> {
        let outside = OutOfRange { at, len: into.len() as u64 };
        self.map.read_slice(into, GuestAddress(at.0)).map_err(|_| outside)
    }

    fn has_frame(&self, frame: Frame) -> bool {
        let at = GuestAddress(frame.0.saturating_mul(PAGE_SIZE));
        self.map.check_range(at, PAGE_SIZE as usize)
    }
}

/// Memory that can be iterated page by page.
pub trait WholeMemory {
    /// Passes each page to `take`, with its address.
    fn each_page(&self, take: impl FnMut(GuestPhys, &[u8; PAGE_SIZE as usize]));
}

impl WholeMemory for Backing {
    fn each_page(&self, take: impl FnMut(GuestPhys, &[u8; PAGE_SIZE as usize])) {
        each_page(&self.map, take);
    }
}

/// Passes each page of this map to `take`, with its address.
pub(super) fn each_page(
    map: &GuestMemoryMmap<()>,
    mut take: impl FnMut(GuestPhys, &[u8; PAGE_SIZE as usize]),
) {
    let mut page = [0; PAGE_SIZE as usize];
    for region in map.iter() {
        for at in (0..region.len()).step_by(page.len()) {
            let at = GuestAddress(region.start_addr().0 + at);
            if map.read_slice(&mut page, at).is_ok() {
                take(GuestPhys(at.0), &page);
            }
        }
    }
}
