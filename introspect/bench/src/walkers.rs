//! The walkers that are compared. Each walks all that ring 3 can use in all address spaces and builds a
//! reverse map of it.
//!
//! The bare walkers skip large pages and ignore reserved bits, cycles, holes and budgets: they are the least
//! that the work costs on sound tables. memflow returns frames and sizes; its rights are not those of the
//! processor (a page counts as writable if any level is), so they are not compared. vmi-rs has no walk over
//! an address space; this one is built from its parts: `VmiCore::read_page` and `PageTableEntry`.

use std::collections::HashMap;

use abi::{GuestPhys, Pid};
use introspect::matrix::space::space_id;
use introspect::x86::{Paging, ReverseMap, Space};
use memflow::architecture::x86::x64;
use memflow::connector::MappedPhysicalMemory;
use memflow::mem::{MemoryMap, VirtualDma, VirtualTranslate};
use memflow::types::Address;
use vmi_arch_amd64::{Amd64, PageTableEntry};
use vmi_core::driver::VmiRead;
use vmi_core::{Gfn, VmiCore, VmiDriver, VmiError, VmiInfo, VmiMappedPage};
use zerocopy::FromBytes;

use crate::dump::Dump;

/// One page: frame, space, address; writable, executable.
pub type Page = (u64, u8, u64, bool, bool);

const ADDRESS: u64 = 0xf_ffff_ffff_f000;

fn bare(
    mem: &[u8],
    table: u64,
    level: u32,
    base: u64,
    write: bool,
    exec: bool,
    visit: &mut impl FnMut(u64, u64, bool, bool),
) {
    for index in 0..if level == 4 { 256 } else { 512 } {
        let at = (table + index * 8) as usize;
        let entry = u64::from_le_bytes(mem[at..at + 8].try_into().unwrap());
        if entry & 5 != 5 {
            continue;
        }
        let virt = base | index << (12 + 9 * (level - 1));
        let (write, exec) = (write && entry & 2 != 0, exec && entry >> 63 == 0);
        match level {
            1 => visit(entry & ADDRESS, virt, write, exec),
            _ if entry & 0x80 == 0 => bare(mem, entry & ADDRESS, level - 1, virt, write, exec, visit),
            _ => {}
        }
    }
}

/// The bare walker with the most obvious map: a hash map.
pub fn bare_hash_map(dump: &Dump) -> HashMap<u64, Vec<(u8, u64, bool, bool)>> {
    let mut map: HashMap<u64, Vec<_>> = HashMap::new();
    for (space, root) in (0..).zip(dump.roots) {
        bare(dump.bytes, root, 4, 0, true, true, &mut |frame, virt, write, exec| {
            map.entry(frame >> 12).or_default().push((space, virt, write, exec));
        });
    }
    map
}

/// The bare walker with a vector that is sorted at the end.
pub fn bare_sorted(dump: &Dump) -> Vec<Page> {
    let mut pages = Vec::new();
    for (space, root) in (0..).zip(dump.roots) {
        bare(dump.bytes, root, 4, 0, true, true, &mut |frame, virt, write, exec| {
            pages.push((frame >> 12, space, virt, write, exec));
        });
    }
    pages.sort_unstable();
    pages
}

/// `introspect`.
pub fn ours(dump: &Dump) -> ReverseMap {
    let spaces = (1..)
        .zip(dump.roots)
        .map(|(slot, root)| Space { id: space_id(Pid::new(slot, 0)), root: GuestPhys(root) });
    ReverseMap::build(dump.bytes, Paging::default(), spaces, ReverseMap::BUDGET)
}

/// Returns the pages of an `introspect` map, in the order of [`bare_sorted`].
pub fn pages(map: &ReverseMap) -> Vec<Page> {
    let page = |mapped: &introspect::Mapped| {
        let rights = mapped.rights();
        (mapped.frame().0, mapped.space() as u8, mapped.virt().0, rights.write, rights.execute)
    };
    map.mapped().map(page).collect()
}

/// memflow: frame, space, address.
pub fn memflow(dump: &Dump) -> Vec<(u64, u8, u64)> {
    let mut pages = Vec::new();
    for (space, root) in (0..).zip(dump.roots) {
        let mut map = MemoryMap::new();
        map.push(Address::null(), dump.bytes);
        let memory = MappedPhysicalMemory::with_info(map);
        let translator = x64::new_translator(root.into());
        let mut virt = VirtualDma::new(memory, x64::ARCH, translator);
        let mut visit = |found: memflow::mem::virt_translate::VirtualTranslation| {
            for nth in 0..found.size as u64 / 4096 {
                let frame = found.out_physical.address().to_umem() as u64 / 4096 + nth;
                pages.push((frame, space, found.in_virtual.to_umem() as u64 + nth * 4096));
            }
            true
        };
        virt.virt_to_phys_range(Address::null(), Address::from(1_u64 << 47), (&mut visit).into());
    }
    pages.sort_unstable();
    pages
}

/// A vmi-rs driver for the dump.
pub struct DumpDriver(&'static [u8]);

impl VmiDriver for DumpDriver {
    type Architecture = Amd64;

    fn info(&self) -> Result<VmiInfo, VmiError> {
        let max_gfn = Gfn::new(self.0.len() as u64 / 4096 - 1);
        Ok(VmiInfo { page_size: 4096, page_shift: 12, max_gfn, vcpus: 1 })
    }
}

impl VmiRead for DumpDriver {
    fn read_page(&self, gfn: Gfn) -> Result<VmiMappedPage, VmiError> {
        let at = u64::from(gfn) as usize * 4096;
        let page: &'static [u8] = self.0.get(at..at + 4096).ok_or(VmiError::OutOfBounds)?;
        Ok(VmiMappedPage::new(page))
    }
}

fn vmi_walk(
    vmi: &VmiCore<DumpDriver>,
    table: Gfn,
    (level, base, write, exec): (u32, u64, bool, bool),
    visit: &mut impl FnMut(u64, u64, bool, bool),
) {
    let Ok(page) = vmi.read_page(table) else { return };
    let Ok(entries) = <[PageTableEntry]>::ref_from_bytes(&page) else { return };
    for (index, entry) in (0_u64..).zip(entries).take(if level == 4 { 256 } else { 512 }) {
        // The field that vmi-rs calls `supervisor` is the bit that lets ring 3 in.
        if !entry.present() || !entry.supervisor() {
            continue;
        }
        let virt = base | index << (12 + 9 * (level - 1));
        let (write, exec) = (write && entry.write(), exec && entry.0 >> 63 == 0);
        match level {
            1 => visit(u64::from(entry.pfn()), virt, write, exec),
            _ if !entry.large() => vmi_walk(vmi, entry.pfn(), (level - 1, virt, write, exec), visit),
            _ => {}
        }
    }
}

/// vmi-rs, with its page cache at the default size.
pub fn vmi(dump: &Dump) -> Vec<Page> {
    let vmi = VmiCore::new(DumpDriver(dump.bytes)).expect("a driver that answers");
    let mut pages = Vec::new();
    for (space, root) in (0..).zip(dump.roots) {
        vmi_walk(&vmi, Gfn::new(root >> 12), (4, 0, true, true), &mut |frame, virt, write, exec| {
            pages.push((frame, space, virt, write, exec));
        });
    }
    pages.sort_unstable();
    pages
}

/// Checks that all walkers find the same.
///
/// # Errors
/// The names of two walkers that differ.
pub fn agree(dump: &Dump) -> Result<usize, &'static str> {
    let expected = bare_sorted(dump);
    let map = ours(dump);
    if !map.is_complete() || !map.troubles().is_empty() || pages(&map) != expected {
        return Err("introspect and the bare walker differ");
    }
    let mut hashed: Vec<Page> = bare_hash_map(dump)
        .into_iter()
        .flat_map(|(frame, all)| {
            all.into_iter().map(move |(space, virt, write, exec)| (frame, space, virt, write, exec))
        })
        .collect();
    hashed.sort_unstable();
    if hashed != expected {
        return Err("the bare walkers differ");
    }
    if vmi(dump) != expected {
        return Err("vmi-rs and the bare walker differ");
    }
    let places: Vec<_> = expected.iter().map(|(frame, space, virt, ..)| (*frame, *space, *virt)).collect();
    if memflow(dump) != places {
        return Err("memflow and the bare walker differ");
    }
    Ok(expected.len())
}
