//! Guest memory: the bytes behind guest-physical addresses.
//!
//! One region from address 0; where the guest has more than 3 GiB, the rest stands at 4 GiB, so that the last GiB
//! below it stays free for the local APIC and other things that are not memory, as on a PC. Every access is checked
//! against the regions; nothing that a guest says can make us touch anything else.

use std::arch::x86_64::{
    __m128i, _mm_castps_si128, _mm_castsi128_ps, _mm_movemask_ps, _mm_or_ps, _mm_or_si128, _mm_shuffle_ps,
    _mm_slli_epi32,
};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::layout::PAGE_SIZE;
use abi::{Frame, GuestPhys};
use introspect::Changed;
use introspect::memory::{OutOfRange, PhysicalMemory, Table};
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MemoryRegionAddress, MmapRegion, VolatileMemory, VolatileSlice,
};

use crate::kvm::HostError;

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
        let no_memory = |error: String| HostError::Memory { memory_mib, error };
        let mut map = GuestMemoryMmap::<()>::new();
        for region in regions(memory_mib) {
            let mapping = MmapRegion::new(region.bytes as usize).map_err(|e| no_memory(e.to_string()))?;
            let mapped = GuestRegionMmap::new(mapping, GuestAddress(region.start.0))
                .ok_or_else(|| no_memory("the address space is too small".into()))?;
            map = map.insert_region(Arc::new(mapped)).map_err(|e| no_memory(e.to_string()))?;
        }
        let bytes = |start| map.iter().find(|r| r.start_addr().0 == start).map_or(0, |r| r.len());
        let (low, high) = (bytes(0), bytes(HOLE_END));
        let words = (low + high).div_ceil(64 * PAGE_SIZE);
        let written = (0..words).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { map: Arc::new(map), low, high, written })
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

    /// Adds the frames that we have written since the last call; the image as it was loaded is not among them.
    pub fn take_written(&self, changed: &mut Changed) {
        for (word, nth) in self.written.iter().zip(0..) {
            // Nearly all are zero, and reading is cheaper than exchanging.
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let bits = word.swap(0, Ordering::Relaxed);
            let below = nth * 64 < self.low / PAGE_SIZE;
            let first = if below { nth * 64 } else { nth * 64 + (HOLE_END - self.low) / PAGE_SIZE };
            changed.add_words(Frame(first), &[bits]);
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
        into: &mut Vec<(usize, u64)>,
    ) -> Result<(), OutOfRange> {
        let outside = OutOfRange { at, len: size_of::<Table>() as u64 };
        if !at.0.is_multiple_of(PAGE_SIZE) {
            self.read_table(at, scratch)?;
            for (line, first) in scratch.as_chunks().0.iter().zip((0..).step_by(8)) {
                introspect::paging::used_of_line(line, first, bits, into);
            }
            return Ok(());
        }
        let page = self.slice(at, size_of::<Table>())?;
        let words = page.get_array_ref::<u64>(0, size_of::<Table>() / 8).map_err(|_| outside)?;
        let mut used = used_lines(&page);
        while used != 0 {
            let first = used.trailing_zeros() as usize * 8;
            used &= used - 1;
            let line = (first..first + 8).map(|nth| (nth, words.load(nth)));
            into.extend(line.filter(|(_, value)| value & bits == bits));
        }
        Ok(())
    }

    fn has_frame(&self, frame: Frame) -> bool {
        let above = frame.0.wrapping_sub(HOLE_END / PAGE_SIZE);
        frame.0 < self.low / PAGE_SIZE || above < self.high / PAGE_SIZE
    }
}

/// A page of entries: for each of its 64 cache lines, of eight entries, whether any of them is present. Most lines of most
/// tables are empty, so this is where an audit spends its time: half the loads that looking at single entries would take.
#[allow(unsafe_code)]
fn used_lines(page: &VolatileSlice) -> u64 {
    /// Words 0 and 2 of two vectors, and words 1 and 3.
    const LOW: i32 = 0b10_00_10_00;
    const HIGH: i32 = 0b11_01_11_01;
    let guard = page.ptr_guard();
    let halves = guard.as_ptr().cast::<__m128i>();
    assert!(page.len() == PAGE_SIZE as usize && halves.is_aligned());
    (0..16_usize).fold(0, |used, four| {
        // SAFETY: the page's 256 aligned 16-byte values are memory, which the guard keeps mapped, and every bit pattern is a
        // value; the loads are volatile because a guest may write there at the same time. Every x86-64 processor has SSE2.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stops_at_three_gib_and_goes_on_at_four() {
        assert_eq!(regions(64), [Region { start: GuestPhys(0), bytes: 64 << 20 }]);
        assert_eq!(regions(3072), [Region { start: GuestPhys(0), bytes: HOLE_START }]);
        assert_eq!(
            regions(4096),
            [
                Region { start: GuestPhys(0), bytes: HOLE_START },
                Region { start: GuestPhys(HOLE_END), bytes: 1 << 30 }
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let memory = GuestMemory::new(2).unwrap();
        memory.write(GuestPhys(0x1234), b"abc").unwrap();
        let mut back = [0; 5];
        memory.read(GuestPhys(0x1233), &mut back).unwrap();
        assert_eq!(&back, b"\0abc\0");
        memory.zero(Frame(1)).unwrap();
        memory.read(GuestPhys(0x1233), &mut back).unwrap();
        assert_eq!(back, [0; 5]);
    }

    #[test]
    fn a_table_in_place_is_the_table_that_is_read() {
        let memory = GuestMemory::new(2).unwrap();
        for at in [0x1000, 0x1ff8, 0x1003] {
            memory.write(GuestPhys(at), &0x1234_5007_u64.to_le_bytes()).unwrap();
        }
        for at in [0x1000, 0x2000, 0x1004, (2 << 20) - 4096] {
            let (mut used, mut page) = (Vec::new(), [0; 512]);
            memory.entries(GuestPhys(at), 5, &mut [0; 512], &mut used).unwrap();
            memory.read_table(GuestPhys(at), &mut page).unwrap();
            let read: Vec<_> = (0..).zip(page).filter(|(_, value)| value & 5 == 5).collect();
            assert_eq!(used, read, "{at:#x}");
        }
        assert!(memory.entries(GuestPhys((2 << 20) - 4088), 1, &mut [0; 512], &mut Vec::new()).is_err());
    }

    #[test]
    fn what_we_write_is_told_once() {
        let memory = GuestMemory::new(3073).unwrap();
        memory.write(GuestPhys(0x1fff), &[1, 2]).unwrap();
        memory.zero(Frame(HOLE_END / PAGE_SIZE + 70)).unwrap();
        let _ = memory.write(GuestPhys(HOLE_START - 1), &[1, 1]);
        let mut changed = Changed::nothing();
        memory.take_written(&mut changed);
        let frames = [1, 2, HOLE_END / PAGE_SIZE + 70].map(Frame);
        assert_eq!(changed.frames().collect::<Vec<_>>(), frames);
        changed.clear();
        memory.take_written(&mut changed);
        assert_eq!(changed.frames().count(), 0);
    }

    #[test]
    fn nothing_outside_is_ever_touched() {
        let memory = GuestMemory::new(2).unwrap();
        let end = 2 << 20;
        for at in [end, end - 1, u64::MAX, u64::MAX - 1, HOLE_START, HOLE_END] {
            assert!(memory.write(GuestPhys(at), &[1, 2]).is_err(), "{at:#x}");
            assert!(memory.read(GuestPhys(at), &mut [0; 2]).is_err(), "{at:#x}");
        }
        // A write that does not fit leaves nothing behind.
        let mut last = [0];
        memory.read(GuestPhys(end - 1), &mut last).unwrap();
        assert_eq!(last, [0]);
        assert!(memory.zero(Frame(end / PAGE_SIZE)).is_err());
        assert!(memory.zero(Frame(u64::MAX)).is_err());
        assert!(memory.zero(Frame(u64::MAX / PAGE_SIZE)).is_err());
    }

    #[test]
    fn a_large_guest_has_both_regions() {
        let memory = GuestMemory::new(3073).unwrap();
        memory.write(GuestPhys(HOLE_END + 5), &[9]).unwrap();
        let mut back = [0];
        memory.read(GuestPhys(HOLE_END + 5), &mut back).unwrap();
        assert_eq!(back, [9]);
        // The two regions do not touch: an access across the hole is refused as a whole.
        assert!(memory.write(GuestPhys(HOLE_START - 1), &[1, 1]).is_err());
        assert_eq!(memory.bytes(), 3073 << 20);
    }
}
