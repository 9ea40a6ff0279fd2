//! Guest memory: the bytes behind guest-physical addresses.
//!
//! One region from address 0; where the guest has more than 3 GiB, the rest stands at 4 GiB, so that the last GiB
//! below it stays free for the local APIC and other things that are not memory, as on a PC. Every access is checked
//! against the regions; nothing that a guest says can make us touch anything else.
//!
//! What memory holds at one moment can be kept as a [`Backing`]: a file that never changes any more. Any number of
//! guests can begin with it: each maps it copy-on-write, so that it costs only the pages that it writes.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_and_si128, _mm_castps_si128, _mm_castsi128_ps, _mm_movemask_ps, _mm_or_ps,
    _mm_or_si128, _mm_setzero_si128, _mm_shuffle_ps, _mm_slli_epi32, _mm_srli_epi32, _mm256_and_si256,
    _mm256_castps_si256, _mm256_castsi256_pd, _mm256_castsi256_ps, _mm256_cmpeq_epi64, _mm256_movemask_pd,
    _mm256_movemask_ps, _mm256_or_ps, _mm256_or_si256, _mm256_permute2f128_ps, _mm256_set1_epi64x,
    _mm256_shuffle_ps, _mm256_slli_epi32, _mm256_storeu_si256,
};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use abi::layout::PAGE_SIZE;
use abi::{Frame, GuestPhys};
use introspect::memory::{OutOfRange, PhysicalMemory, Table};
use introspect::paging::{UsedEntry, used_of_line, used_of_table};
use rustix::fs::{MemfdFlags, SealFlags};
use vm_memory::volatile_memory::PtrGuard;
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MemoryRegionAddress, MmapRegion, VolatileMemory, VolatileSlice,
};

use crate::host::kvm::HostError;

mod backing;

pub use backing::{Backing, WholeMemory};

/// Where memory stops and the hole for devices begins.
pub const HOLE_START: u64 = 3 << 30;
/// Where the hole ends and memory goes on.
pub const HOLE_END: u64 = 4 << 30;
/// Least memory of a guest, MiB: below 1 MiB a PC has little that can be used.
pub const MIN_MIB: u32 = 2;
/// Most memory of a guest, MiB.
pub const MAX_MIB: u32 = 64 << 10;

/// A piece of guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its first address.
    pub start: GuestPhys,
    /// Its length.
    pub bytes: u64,
}

/// Where a guest with this much memory has it.
pub fn regions(memory_mib: u32) -> Vec<Region> {
    let bytes = u64::from(memory_mib) << 20;
    let low = Region { start: GuestPhys(0), bytes: bytes.min(HOLE_START) };
    let high = Region { start: GuestPhys(HOLE_END), bytes: bytes - low.bytes };
    [low, high].into_iter().filter(|region| region.bytes > 0).collect()
}

/// The memory of one guest. Clones are the same memory.
#[derive(Clone)]
pub struct GuestMemory {
    map: Arc<GuestMemoryMmap<()>>,
    /// The file that it is in, until that is given away.
    file: Arc<Mutex<Option<Arc<File>>>>,
    /// Bytes below the hole, and above it.
    low: u64,
    high: u64,
    /// Frames that we have written ourselves since somebody last asked, a bit each: those below the hole, then those
    /// above. What the guest writes KVM knows.
    written: Arc<[AtomicU64]>,
}

impl GuestMemory {
    /// Zeroed memory, of which the host gives only what is touched.
    pub fn new(memory_mib: u32) -> Result<Self, HostError> {
        let flags = libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_PRIVATE;
        Self::mapped(memory_mib, None, 0, flags)
    }

    /// The same in a file without a name, so that [`Self::keep`] costs nothing.
    pub fn in_file(memory_mib: u32) -> Result<Self, HostError> {
        let file = Arc::new(nameless_file(memory_mib)?);
        let memory = Self::mapped(memory_mib, Some(&file), 0, libc::MAP_NORESERVE | libc::MAP_SHARED)?;
        Ok(Self { file: Arc::new(Mutex::new(Some(file))), ..memory })
    }

    /// What `backing` holds, and what is written to it stays here.
    ///
    /// It is mapped over zeroed memory, which Linux puts where large pages could be, and files it does not: so fewer of the
    /// host's page tables lead to it.
    pub fn copy_on_write(backing: &Backing) -> Result<Self, HostError> {
        let memory = Self::new(backing.memory_mib)?;
        memory.map_again(backing)?;
        Ok(memory)
    }

    /// A page that is nobody's memory.
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
        mut offset: u64,
        flags: i32,
    ) -> Result<Self, HostError> {
        let memory_mib = (regions.iter().map(|region| region.bytes).sum::<u64>() >> 20) as u32;
        let no_memory = |error: String| HostError::Memory { memory_mib, error };
        let mut map = GuestMemoryMmap::<()>::new();
        for region in regions {
            let place = file.map(|file| FileOffset::from_arc(file.clone(), offset));
            let rights = libc::PROT_READ | libc::PROT_WRITE;
            let mapping = MmapRegion::build(place, region.bytes as usize, rights, flags)
                .map_err(|e| no_memory(e.to_string()))?;
            let mapped = GuestRegionMmap::new(mapping, GuestAddress(region.start.0))
                .ok_or_else(|| no_memory("the address space is too small".into()))?;
            map = map.insert_region(Arc::new(mapped)).map_err(|e| no_memory(e.to_string()))?;
            offset += region.bytes;
        }
        let bytes = |start| map.iter().find(|r| r.start_addr().0 == start).map_or(0, |r| r.len());
        let (low, high) = (bytes(0), bytes(HOLE_END));
        let words = (low + high).div_ceil(64 * PAGE_SIZE);
        let written = (0..words).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { map: Arc::new(map), file: Arc::default(), low, high, written })
    }

    /// Keeps what it holds now. Memory of its own file gives the file away, and goes on with a copy of what it writes;
    /// any other is copied, as far as it is not zero.
    pub fn keep(&self) -> Result<Backing, HostError> {
        let memory_mib = (self.bytes() >> 20) as u32;
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
        let backing = match file {
            Some(file) => {
                let backing = Backing::of(file, 0, memory_mib)?;
                self.map_again(&backing)?;
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
                return copy.keep();
            }
        };
        // Nobody writes there any more: from now on nobody can. Where that cannot be had nothing else changes.
        let _ = rustix::fs::fcntl_add_seals(
            &backing.file,
            SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW,
        );
        Ok(backing)
    }

    /// Maps a backing of the same size over what is there: everything is as it was when that was made.
    pub fn map_again(&self, backing: &Backing) -> Result<(), HostError> {
        let mut offset = backing.offset;
        for (region, address) in self.mappings() {
            let rights = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_FIXED;
            let fd = backing.file.as_raw_fd();
            // SAFETY: the range is exactly a mapping that `self.map` owns and unmaps, so nothing else is replaced. All
            // access to guest memory is by volatile reads and writes through that map: no reference into it exists.
            let mapped = unsafe {
                libc::mmap(address as *mut _, region.bytes as usize, rights, flags, fd, offset as libc::off_t)
            };
            if mapped == libc::MAP_FAILED {
                let error = std::io::Error::last_os_error().to_string();
                return Err(HostError::Memory { memory_mib: backing.memory_mib, error });
            }
            offset += region.bytes;
        }
        Ok(())
    }

    /// Puts back a frame from the backing that this memory began with. With `tables` it also says whether the frame
    /// may have been a page table with entries in use that are others now: a word with the bits "present" and
    /// "accessed", of entries of 4 or of 8 bytes (Intel SDM vol. 3, 5.3 and 5.5).
    pub fn put_back(&self, frame: Frame, backing: &Backing, tables: bool) -> Result<bool, OutOfRange> {
        const USED: u64 = 0x21;
        let page = PAGE_SIZE as usize;
        let outside = OutOfRange { at: GuestPhys(frame.0.saturating_mul(PAGE_SIZE)), len: PAGE_SIZE };
        let at = GuestAddress(outside.at.0);
        let now = self.map.get_slice(at, page).map_err(|_| outside)?;
        let then = backing.map.get_slice(at, page).map_err(|_| outside)?;
        // Few pages have any such word.
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

    /// The regions with the addresses at which this process has them mapped: what a memory slot of KVM is made of.
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
    pub fn write(&self, at: GuestPhys, from: &[u8]) -> Result<(), OutOfRange> {
        let outside = OutOfRange { at, len: from.len() as u64 };
        if !self.map.check_range(GuestAddress(at.0), from.len()) {
            return Err(outside);
        }
        self.mark(at, from.len() as u64);
        self.map.write_slice(from, GuestAddress(at.0)).map_err(|_| outside)
    }

    /// Notes that these bytes, which are memory, are being written.
    fn mark(&self, at: GuestPhys, bytes: u64) {
        let hole = if at.0 < HOLE_START { 0 } else { (HOLE_END - self.low) / PAGE_SIZE };
        for frame in at.frame().0..at.0.saturating_add(bytes).div_ceil(PAGE_SIZE) {
            let bit = frame - hole;
            if let Some(word) = self.written.get((bit / 64) as usize) {
                word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
            }
        }
    }

    /// Tells the frames that we have written since the last call, 64 at a time; the image as it was loaded is not among
    /// them.
    pub fn drain_written(&self, mut tell: impl FnMut(Frame, &[u64])) {
        for (word, nth) in self.written.iter().zip(0..) {
            // Nearly all are zero, and reading is cheaper than exchanging.
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
    /// These bytes, which are memory. Nearly all that is read is below the hole, where nothing needs to be looked up.
    fn slice(&self, at: GuestPhys, len: usize) -> Result<VolatileSlice<'_>, OutOfRange> {
        let slice = match self.map.iter().next() {
            Some(low) if at.0 < self.low => low.get_slice(MemoryRegionAddress(at.0), len),
            _ => self.map.get_slice(GuestAddress(at.0), len),
        };
        slice.map_err(|_| OutOfRange { at, len: len as u64 })
    }
}

/// A file that exists as long as somebody has it, all zeros.
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

    /// Looks at the table where it is: first whether there is anything in a cache line, and only then at its entries. (A
    /// reference to it cannot be had: the memory is also written through others.)
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
        let (_guard, halves) = halves(&page);
        // SAFETY: the page is memory, aligned, which the guard keeps mapped. Every x86-64 processor has SSE2; whether this
        // one has AVX2, and the system keeps its registers, was asked.
        unsafe {
            if is_x86_feature_detected!("avx2") {
                used_entries_avx2(halves.cast(), bits, into);
            } else {
                used_entries_sse2(halves, bits, into);
            }
        }
        Ok(())
    }

    fn has_frame(&self, frame: Frame) -> bool {
        let above = frame.0.wrapping_sub(HOLE_END / PAGE_SIZE);
        frame.0 < self.low / PAGE_SIZE || above < self.high / PAGE_SIZE
    }
}

/// Of a page its 256 values of 16 bytes, aligned. They are memory as long as the guard is there.
fn halves(page: &VolatileSlice<'_>) -> (PtrGuard, *const __m128i) {
    let guard = page.ptr_guard();
    let halves = guard.as_ptr().cast::<__m128i>();
    assert!(page.len() == PAGE_SIZE as usize && halves.cast::<__m256i>().is_aligned());
    (guard, halves)
}

/// Words 0 and 2 of two vectors, and words 1 and 3; of wide ones this is done in each half.
const LOW: i32 = 0b10_00_10_00;
const HIGH: i32 = 0b11_01_11_01;

/// The entries in the page of these 256 values that have all of `bits`: see [`PhysicalMemory::entries`].
///
/// # Safety
/// The values are memory and aligned. The loads are volatile because a guest may write there at the same time; every bit
/// pattern is a value.
unsafe fn used_entries_sse2(halves: *const __m128i, bits: u64, into: &mut Vec<UsedEntry>) {
    // SAFETY: the caller's.
    for nth in lines_of(unsafe { used_lines_sse2(halves) }) {
        // SAFETY: the caller's; a line has eight words.
        let line =
            std::array::from_fn(|word| unsafe { halves.cast::<u64>().add(nth * 8 + word).read_volatile() });
        used_of_line(&line, nth * 8, bits, into);
    }
}

/// [`used_entries_sse2`], of 128 values.
///
/// # Safety
/// As there, and the processor has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn used_entries_avx2(values: *const __m256i, bits: u64, into: &mut Vec<UsedEntry>) {
    let wanted = _mm256_set1_epi64x(bits as i64);
    // SAFETY: the caller's.
    for nth in lines_of(unsafe { used_lines_avx2(values) }) {
        // Every entry is loaded once, so that what was looked at is what is told.
        let mut words = [0_u64; 8];
        let mut half = |half: usize| {
            // SAFETY: the caller's, and a line has two values.
            let value = unsafe { values.add(2 * nth + half).read_volatile() };
            // SAFETY: half of the words are as long as a value.
            unsafe { _mm256_storeu_si256(words[4 * half..][..4].as_mut_ptr().cast(), value) };
            let has = _mm256_cmpeq_epi64(_mm256_and_si256(value, wanted), wanted);
            _mm256_movemask_pd(_mm256_castsi256_pd(has)) as u32
        };
        let mut used = half(0) | half(1) << 4;
        while used != 0 {
            let word = used.trailing_zeros() as usize % 8;
            used &= used - 1;
            into.push(UsedEntry::new(nth * 8 + word, words[word]));
        }
    }
}

/// The numbers of the lines in such a mask.
fn lines_of(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let nth = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(nth)
    })
}

/// A page of entries: for each of its 64 cache lines, of eight entries, whether any of them is present. Most lines of most
/// tables are empty, so this is where an audit spends its time: half the loads that looking at single entries would take.
///
/// # Safety
/// As [`used_entries_sse2`].
unsafe fn used_lines_sse2(halves: *const __m128i) -> u64 {
    (0..16_usize).fold(0, |used, four| {
        // SAFETY: the caller's.
        let present = unsafe {
            let half = |nth: usize| halves.add(16 * four + nth).read_volatile();
            let line = |nth: usize| {
                let (a, b) = (
                    _mm_or_si128(half(4 * nth), half(4 * nth + 1)),
                    _mm_or_si128(half(4 * nth + 2), half(4 * nth + 3)),
                );
                _mm_castsi128_ps(_mm_or_si128(a, b))
            };
            // The low words of four lines, which have the present bit as bit 0, side by side; the mask takes bit 31 of each.
            let (two, more) =
                (_mm_shuffle_ps::<LOW>(line(0), line(1)), _mm_shuffle_ps::<LOW>(line(2), line(3)));
            let any = _mm_or_ps(_mm_shuffle_ps::<LOW>(two, more), _mm_shuffle_ps::<HIGH>(two, more));
            _mm_movemask_ps(_mm_castsi128_ps(_mm_slli_epi32::<31>(_mm_castps_si128(any))))
        };
        used | (present as u64) << (4 * four)
    })
}

/// [`used_lines_sse2`], of 128 values: half the loads again.
///
/// # Safety
/// As [`used_entries_avx2`].
#[target_feature(enable = "avx2")]
unsafe fn used_lines_avx2(values: *const __m256i) -> u64 {
    (0..8_usize).fold(0, |used, eight| {
        // SAFETY: the caller's.
        let value = |nth: usize| unsafe { values.add(16 * eight + nth).read_volatile() };
        let line = |nth: usize| _mm256_castsi256_ps(_mm256_or_si256(value(2 * nth), value(2 * nth + 1)));
        // Of each line the low words of its upper and of its lower half, and at last of both.
        let four = |first: usize| {
            let (two, more) = (
                _mm256_shuffle_ps::<LOW>(line(first), line(first + 1)),
                _mm256_shuffle_ps::<LOW>(line(first + 2), line(first + 3)),
            );
            _mm256_or_ps(_mm256_shuffle_ps::<LOW>(two, more), _mm256_shuffle_ps::<HIGH>(two, more))
        };
        let (a, b) = (four(0), four(4));
        let any = _mm256_or_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
        let present =
            _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32::<31>(_mm256_castps_si256(any))));
        used | (present as u64) << (8 * eight)
    })
}

/// Whether a page has any word of four bytes with the bits "present" and "accessed".
fn any_in_use(page: &VolatileSlice<'_>) -> bool {
    let (_guard, halves) = halves(page);
    // SAFETY: as in `used_lines_sse2`; the page's 256 values are memory, which the guard keeps mapped.
    unsafe {
        let any = (0..PAGE_SIZE as usize / size_of::<__m128i>()).fold(_mm_setzero_si128(), |any, nth| {
            let half = halves.add(nth).read_volatile();
            _mm_or_si128(any, _mm_and_si128(half, _mm_srli_epi32::<5>(half)))
        });
        _mm_movemask_ps(_mm_castsi128_ps(_mm_slli_epi32::<31>(any))) != 0
    }
}

#[cfg(test)]
mod tests;
