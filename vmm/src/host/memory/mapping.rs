//! Mapping the regions of a guest into this process.

use std::fs::File;
use std::sync::Arc;

use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::error::HostError;
use crate::host::memory::regions::Region;

/// Maps these regions, one after the other from `offset` in the file; without a file, as anonymous memory.
pub(super) fn map_regions(
    regions: &[Region],
    file: Option<&Arc<File>>,
    mut offset: u64,
    flags: i32,
) -> Result<GuestMemoryMmap<()>, HostError> {
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
    Ok(map)
}
