//! Where a guest has memory: one region from address 0; beyond 3 GiB, the rest starts at 4 GiB, so that the
//! last GiB below it stays free for the local APIC and other devices, as on a PC.

use abi::GuestPhys;

/// Where low memory ends and the hole for devices starts.
pub const HOLE_START: u64 = 3 << 30;
/// Where the hole ends and high memory starts.
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

/// The regions of a guest with this much memory.
pub fn regions(memory_mib: u32) -> Vec<Region> {
    let bytes = u64::from(memory_mib) << 20;
    let low = Region { start: GuestPhys(0), bytes: bytes.min(HOLE_START) };
    let high = Region { start: GuestPhys(HOLE_END), bytes: bytes - low.bytes };
    [low, high].into_iter().filter(|region| region.bytes > 0).collect()
}
