//! The memory of one guest, and its ways to a [`Backing`] and back.
//!
//! What memory holds at one moment can be frozen as a [`Backing`]: a file that never changes again. Any
//! number of guests can start from it: each maps it copy-on-write, so that it costs only the pages that the
//! guest writes.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use abi::layout::PAGE_SIZE;
use abi::{Frame, GuestPhys};
use introspect::x86::memory::{OutOfRange, PhysicalMemory, Table};
use introspect::x86::paging::{UsedEntry, used_of_table};
use rustix::fs::{MemfdFlags, SealFlags};
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, MemoryRegionAddress,
    VolatileMemory, VolatileSlice,
};

use crate::error::HostError;
use crate::host::memory::backing::{Backing, WholeMemory, each_page};
use crate::host::memory::mapping::map_regions;
use crate::host::memory::regions::{HOLE_END, HOLE_START, Region, regions};
use crate::host::memory::scan::{any_in_use, used_entries};

/// The memory of one guest. Clones are the same memory.
#[derive(Clone)]
pub struct GuestMemory {
    map: Arc<GuestMemoryMmap<()>>,
    /// The file that backs it, until [`Self::freeze`] takes it.
    file: Arc<Mutex<Option<Arc<File>>>>,
    /// Bytes below the hole, and above it.
    low: u64,
    high: u64,
    /// The frames that the VMM has written since the last [`Self::drain_written`], a bit each: those below
    /// the hole, then those above. KVM logs what the guest writes.
    written: Arc<[AtomicU64]>,
}

impl GuestMemory {
    /// Zeroed memory, of which the host provides only the pages that are touched.
    ///
    /// # Errors
    ///
    /// The host has not enough memory or address space.
    pub fn new(memory_mib: u32) -> Result<Self, HostError> {
        let flags = libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_PRIVATE;
        Self::mapped(memory_mib, None, 0, flags)
    }

    /// The same in an unnamed file, so that [`Self::freeze`] needs no copy.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn in_file(memory_mib: u32) -> Result<Self, HostError> {
        let file = Arc::new(nameless_file(memory_mib)?);
        let memory = Self::mapped(memory_mib, Some(&file), 0, libc::MAP_NORESERVE | libc::MAP_SHARED)?;
        Ok(Self { file: Arc::new(Mutex::new(Some(file))), ..memory })
    }

    /// Memory that starts with the contents of `backing`; writes stay in this memory.
    ///
    /// The file is mapped over anonymous memory: Linux aligns that for large pages, and files not, so fewer
    /// of the host's page tables are needed.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn copy_on_write(backing: &Backing) -> Result<Self, HostError> {
        let memory = Self::new(backing.memory_mib())?;
        memory.restore_all(backing)?;
        Ok(memory)
    }

    /// One page, for a slot that is no guest's memory.
    pub(crate) fn one_page() -> Result<Self, HostError> {
        Self::mapped_regions(
            &[Region { start: GuestPhys(0), bytes: PAGE_SIZE }],
            None,
            0,
            libc::MAP_ANONYMOUS | libc::MAP_PRIVATE,
        )
    }

    fn mapped(memory_mib: u32, file: Option<&Arc<File>>, offset: u64, flags: i32) -> Result<Self, HostError> {
        Self::mapped_regions(&regions(memory_mib), file, offset, flags)
    }

    fn mapped_regions(
        regions: &[Region],
        file: Option<&Arc<File>>,
        offset: u64,
        flags: i32,
    ) -> Result<Self, HostError> {
        let map = map_regions(regions, file, offset, flags)?;
        let bytes = |start| map.iter().find(|r| r.start_addr().0 == start).map_or(0, |r| r.len());
        let (low, high) = (bytes(0), bytes(HOLE_END));
        let words = (low + high).div_ceil(64 * PAGE_SIZE);
        let written = (0..words).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { map: Arc::new(map), file: Arc::default(), low, high, written })
    }

    /// Freezes the present contents. Memory in a file gives up the file and continues copy-on-write; other
    /// memory is copied, apart from zero pages.
    ///
    /// # Errors
    ///
    /// The host has no memory for it.
    pub fn freeze(&self) -> Result<Backing, HostError> {
        let memory_mib = (self.bytes() >> 20) as u32;
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
        let backing = match file {
            Some(file) => {
                let backing = Backing::of(file, 0, memory_mib)?;
                self.restore_all(&backing)?;
                backing
            }
            None => {
                let copy = Self::in_file(memory_mib)?;
                self.each_page(|at, page| {
                    if page.iter().any(|byte| *byte != 0) {
                        // Both have the same regions.
                        let _ = copy.map.write_slice(page, GuestAddress(at.0));
                    }
                });
                return copy.freeze();
            }
        };
        // Sealed as a precaution: nothing writes to the file any more. A kernel without seals changes nothing
        // else.
        let _ = rustix::fs::fcntl_add_seals(
            backing.file(),
            SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW,
        );
        Ok(backing)
    }

    /// Restores all contents: maps a backing of the same size over the present mappings.
    ///
    /// # Errors
    ///
    /// The host refused the mapping.
    pub fn restore_all(&self, backing: &Backing) -> Result<(), HostError> {
        let mut offset = backing.offset();
        for (region, address) in self.mappings() {
            let rights = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_FIXED;
            let fd = backing.file().as_raw_fd();
            // SAFETY: the range is exactly a mapping that `self.map` owns and unmaps, so nothing else is
            // replaced. All access to guest memory is by volatile reads and writes through that map: no
            // reference into it exists.
            let mapped = unsafe {
                libc::mmap(address as *mut _, region.bytes as usize, rights, flags, fd, offset as libc::off_t)
            };
            if mapped == libc::MAP_FAILED {
                let error = std::io::Error::last_os_error().to_string();
                return Err(HostError::Memory { memory_mib: backing.memory_mib(), error });
            }
            offset += region.bytes;
        }
        Ok(())
    }

    /// Restores a frame from the backing that this memory started from. With `tables`, returns whether the
    /// frame may have been a page table with entries in use that now change: a word with the bits "present"
    /// and "accessed", in entries of 4 or of 8 bytes (Intel SDM vol. 3, 5.3 and 5.5).
    pub fn restore_frame(&self, frame: Frame, backing: &Backing, tables: bool) -> Result<bool, OutOfRange> {
        const USED: u64 = 0x21;
        let page = PAGE_SIZE as usize;
        let outside = OutOfRange { at: GuestPhys(frame.0.saturating_mul(PAGE_SIZE)), len: PAGE_SIZE };
        let at = GuestAddress(outside.at.0);
        let now = self.map.get_slice(at, page).map_err(|_| outside)?;
        let then = backing.map().get_slice(at, page).map_err(|_| outside)?;
        // Few pages have such a word.
        let was_table = tables && any_in_use(&now) && {
            let now = now.get_array_ref::<u64>(0, page / 8).map_err(|_| outside)?;
            let then = then.get_array_ref::<u64>(0, page / 8).map_err(|_| outside)?;
            (0..page / 8).any(|nth| {
                let word = now.load(nth);
                (word & USED == USED || word >> 32 & USED == USED) && word != then.load(nth)
            })
        };
        then.copy_to_volatile_slice(now);
        Ok(was_table)
    }

    /// The map itself, for `linux-loader`.
    pub fn map(&self) -> &GuestMemoryMmap<()> {
        &self.map
    }

    /// The regions, in rising order.
    pub fn regions(&self) -> impl Iterator<Item = Region> {
        self.map.iter().map(|r| Region { start: GuestPhys(r.start_addr().0), bytes: r.len() })
    }

    /// The regions with the addresses at which this process has them mapped: what a memory slot of KVM is
    /// made of.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = (Region, u64)> {
        self.map
            .iter()
            .map(|r| (Region { start: GuestPhys(r.start_addr().0), bytes: r.len() }, r.as_ptr() as u64))
    }

    /// Bytes of memory in all regions.
    pub fn bytes(&self) -> u64 {
        self.regions().map(|region| region.bytes).sum()
    }

    /// Writes all of `from` at `at`, or nothing.
    ///
    /// # Errors
    ///
    /// Part of the range is no memory.
    pub fn write(&self, at: GuestPhys, from: &[u8]) -> Result<(), OutOfRange> {
        let outside = OutOfRange { at, len: from.len() as u64 };
        if !self.map.check_range(GuestAddress(at.0), from.len()) {
            return Err(outside);
        }
        self.mark(at, from.len() as u64);
        self.map.write_slice(from, GuestAddress(at.0)).map_err(|_| outside)
    }

    /// Marks the frames of these bytes, which are memory, as written.
    fn mark(&self, at: GuestPhys, bytes: u64) {
        let hole = if at.0 < HOLE_START { 0 } else { (HOLE_END - self.low) / PAGE_SIZE };
        for frame in at.frame().0..at.0.saturating_add(bytes).div_ceil(PAGE_SIZE) {
            let bit = frame - hole;
            if let Some(word) = self.written.get((bit / 64) as usize) {
                word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
            }
        }
    }

    /// Passes the frames that the VMM has written since the last call to `tell`, 64 at a time. Loading an
    /// image does not count.
    pub fn drain_written(&self, mut tell: impl FnMut(Frame, &[u64])) {
        for (word, nth) in self.written.iter().zip(0..) {
            // Nearly all are zero, and a load is cheaper than an exchange.
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let bits = word.swap(0, Ordering::Relaxed);
            let below = nth * 64 < self.low / PAGE_SIZE;
            let first = if below { nth * 64 } else { nth * 64 + (HOLE_END - self.low) / PAGE_SIZE };
            tell(Frame(first), &[bits]);
        }
    }

    /// Fills a frame with zeros.
    pub fn zero(&self, frame: Frame) -> Result<(), OutOfRange> {
        let outside = OutOfRange { at: GuestPhys(u64::MAX), len: PAGE_SIZE };
        let start = frame.0.checked_mul(PAGE_SIZE).ok_or(outside)?;
        self.write(GuestPhys(start), &[0; PAGE_SIZE as usize])
    }

    /// Copies `bytes` bytes from `at` to the place in the file where it stands.
    pub fn write_to_file(&self, at: GuestPhys, bytes: usize, file: &mut File) -> std::io::Result<()> {
        self.map.write_all_volatile_to(GuestAddress(at.0), file, bytes).map_err(std::io::Error::other)
    }
}

impl GuestMemory {
    /// A slice of memory. Nearly all reads are below the hole, where no region need be searched.
    fn slice(&self, at: GuestPhys, len: usize) -> Result<VolatileSlice<'_>, OutOfRange> {
        let slice = match self.map.iter().next() {
            Some(low) if at.0 < self.low => low.get_slice(MemoryRegionAddress(at.0), len),
            _ => self.map.get_slice(GuestAddress(at.0), len),
        };
        slice.map_err(|_| OutOfRange { at, len: len as u64 })
    }
}

/// An unnamed file of zeros; it exists as long as it is open or mapped.
fn nameless_file(memory_mib: u32) -> Result<File, HostError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("guest memory", flags).map(File::from).map_err(std::io::Error::from);
    file.and_then(|file| file.set_len(u64::from(memory_mib) << 20).map(|()| file))
        .map_err(|error| HostError::Memory { memory_mib, error: error.to_string() })
}

impl PhysicalMemory for GuestMemory {
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange> {
        self.slice(at, into.len())?.copy_to(into);
        Ok(())
    }

    /// Scans the table in place: first whether a cache line has any entry, and only then its entries. (A
    /// reference to it is impossible: the guest writes the memory too.)
    fn entries(
        &self,
        at: GuestPhys,
        bits: u64,
        scratch: &mut Table,
        into: &mut Vec<UsedEntry>,
    ) -> Result<(), OutOfRange> {
        if !at.0.is_multiple_of(PAGE_SIZE) {
            self.read_table(at, scratch)?;
            used_of_table(scratch, bits, into);
            return Ok(());
        }
        let page = self.slice(at, size_of::<Table>())?;
        used_entries(&page, bits, into);
        Ok(())
    }

    fn has_frame(&self, frame: Frame) -> bool {
        let above = frame.0.wrapping_sub(HOLE_END / PAGE_SIZE);
        frame.0 < self.low / PAGE_SIZE || above < self.high / PAGE_SIZE
    }
}

impl WholeMemory for GuestMemory {
    fn each_page(&self, take: impl FnMut(GuestPhys, &[u8; PAGE_SIZE as usize])) {
        each_page(&self.map, take);
    }
}

#[cfg(test)]
mod tests;
