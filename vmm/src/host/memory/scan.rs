//! Reads pages of page-table entries in place, by vectors of SSE2 or AVX2.
//!
//! The loads are volatile, because the guest may write there at the same time. No reference into guest memory
//! is made.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_and_si128, _mm_castps_si128, _mm_castsi128_ps, _mm_movemask_ps, _mm_or_ps,
    _mm_or_si128, _mm_setzero_si128, _mm_shuffle_ps, _mm_slli_epi32, _mm_srli_epi32, _mm256_and_si256,
    _mm256_castps_si256, _mm256_castsi256_pd, _mm256_castsi256_ps, _mm256_cmpeq_epi64, _mm256_movemask_pd,
    _mm256_movemask_ps, _mm256_or_ps, _mm256_or_si256, _mm256_permute2f128_ps, _mm256_set1_epi64x,
    _mm256_shuffle_ps, _mm256_slli_epi32, _mm256_storeu_si256,
};

use abi::layout::PAGE_SIZE;
use introspect::x86::paging::{UsedEntry, used_of_line};
use vm_memory::VolatileSlice;
use vm_memory::volatile_memory::PtrGuard;

/// Appends the entries in this page that have all of `bits`. The page must be aligned.
pub(super) fn used_entries(page: &VolatileSlice<'_>, bits: u64, into: &mut Vec<UsedEntry>) {
    let (_guard, halves) = halves(page);
    // SAFETY: the page is memory, aligned, which the guard keeps mapped. Every x86-64 processor has SSE2;
    // whether this one has AVX2, and the system keeps its registers, was asked.
    unsafe {
        if is_x86_feature_detected!("avx2") {
            used_entries_avx2(halves.cast(), bits, into);
        } else {
            used_entries_sse2(halves, bits, into);
        }
    }
}

/// The 256 values of 16 bytes of a page, aligned. They are mapped as long as the guard lives.
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
/// The values are memory and aligned. The loads are volatile because a guest may write there at the same
/// time; every bit pattern is a value.
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
        // Every entry is loaded once, so that the value tested is the value returned.
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

/// The numbers of the bits that are set.
fn lines_of(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let nth = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(nth)
    })
}

/// A page of entries: for each of its 64 cache lines, of eight entries, whether any of them is present. Most
/// lines of most tables are empty, so this is where an audit spends its time: half the loads that looking at
/// single entries would take.
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
            // The low words of four lines, which have the present bit as bit 0, side by side; the mask takes
            // bit 31 of each.
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
pub(super) fn any_in_use(page: &VolatileSlice<'_>) -> bool {
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
mod tests {
    use super::*;
    use crate::host::memory::mapping::map_regions;
    use crate::host::memory::regions::regions;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

    #[test]
    fn sse2_and_avx2_find_the_same_cache_lines() {
        let flags = libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
        let memory = map_regions(&regions(2), None, 0, flags).unwrap();
        let write = |entry: u64, value: u64| {
            memory.write_slice(&value.to_le_bytes(), GuestAddress(0x1000 + entry * 8)).unwrap();
        };
        let seen = |expected: u64| {
            let page = memory.get_slice(GuestAddress(0x1000), PAGE_SIZE as usize).unwrap();
            let (_guard, halves) = halves(&page);
            // SAFETY: the page is memory, which the guard keeps mapped.
            assert_eq!(unsafe { used_lines_sse2(halves) }, expected);
            if is_x86_feature_detected!("avx2") {
                // SAFETY: as above, and the processor has AVX2.
                assert_eq!(unsafe { used_lines_avx2(halves.cast()) }, expected);
            }
        };
        seen(0);
        // All bits but "present".
        (0..512).for_each(|entry| write(entry, !1));
        seen(0);
        for entry in 0..512 {
            write(entry, 1);
            seen(1 << (entry / 8));
            write(entry, !1);
        }
        [0, 9, 63, 300, 511].into_iter().for_each(|entry| write(entry, 1));
        seen(1 | 1 << 1 | 1 << 7 | 1 << 37 | 1 << 63);
    }
}
