//! Compares `introspect` with memflow on dumps: in each address space found in a dump, both must map the same
//! pages to the same frames. Rights are not compared: memflow takes a page for writable if any level is.
//! Pages outside memory are left out: memflow does not check. Of neighbouring entries with the same value
//! memflow lists one, on purpose; so neighbours that map the same frame count as one page on both sides.
//!
//! Usage: `compare DUMP`, a dump with four levels of page tables: memflow does not support five. Prints how
//! much was compared, or the first difference.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use abi::{Frame, GuestPhys};
use introspect::x86::{Budget, Dump, Half, PhysicalMemory, roots};
use memflow::architecture::x86::x64;
use memflow::connector::MappedPhysicalMemory;
use memflow::mem::virt_translate::VirtualTranslation;
use memflow::mem::{MemoryMap, VirtualDma, VirtualTranslate};
use memflow::types::Address;

/// The address and frame of each 4 KiB page.
type Pages = Vec<(u64, u64)>;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: compare DUMP")?;
    let dump = Dump::open(Path::new(&path))?;
    if dump.paging().five_levels {
        return Err("the dump has five levels".into());
    }
    let known = dump.root().ok_or("the dump does not say where a root of page tables is")?;
    let frames = dump.pieces().iter().flat_map(|piece| piece.start.div_ceil(4096)..piece.end / 4096);
    let roots = roots::sharing(&dump, dump.paging(), frames.map(Frame), known).roots;
    let memory = copy(&dump)?;
    let mut pages = 0;
    for root in roots.iter().map(|root| root.at) {
        let ours = ours(&dump, root)?;
        let runs = runs(&ours);
        let theirs = one_of_each(theirs(&dump, &memory, root), &runs);
        let ours = one_of_each(ours, &runs);
        if ours != theirs {
            let differ = ours.iter().zip(&theirs).find(|(a, b)| a != b);
            let counts = format!("{} pages here, {} there", ours.len(), theirs.len());
            return Err(format!("root {root}: {counts}; the first that differ: {differ:x?}").into());
        }
        pages += ours.len();
    }
    if pages == 0 {
        return Err("nothing is mapped".into());
    }
    println!("{} roots, {pages} pages", roots.len());
    Ok(())
}

/// Maps each page whose neighbour above maps the same frame to the last of these neighbours.
fn runs(pages: &Pages) -> BTreeMap<u64, u64> {
    let mut runs = BTreeMap::new();
    for pair in pages.windows(2).rev() {
        let [(virt, frame), (above, other)] = [pair[0], pair[1]];
        if virt + 4096 == above && frame == other {
            let last = runs.get(&above).copied().unwrap_or(above);
            runs.insert(virt, last);
        }
    }
    runs
}

/// One page of each run.
fn one_of_each(pages: Pages, runs: &BTreeMap<u64, u64>) -> Pages {
    let last = |(virt, frame): (u64, u64)| (runs.get(&virt).copied().unwrap_or(virt), frame);
    let mut pages: Pages = pages.into_iter().map(last).collect();
    pages.sort_unstable();
    pages.dedup();
    pages
}

/// Returns the dump's memory for memflow. It lives until the program ends.
fn copy(dump: &Dump) -> Result<MemoryMap<&'static [u8]>, Box<dyn Error>> {
    let mut map = MemoryMap::new();
    for piece in dump.pieces() {
        let mut bytes = vec![0; usize::try_from(piece.end - piece.start)?];
        dump.read(GuestPhys(piece.start), &mut bytes)?;
        map.push(Address::from(piece.start), &*Box::leak(bytes.into_boxed_slice()));
    }
    Ok(map)
}

fn ours(dump: &Dump, root: GuestPhys) -> Result<Pages, Box<dyn Error>> {
    let mut mappings = dump.paging().mappings(dump, root, Half::Both, Budget::default());
    let pages = mappings.by_ref().flat_map(|leaf| {
        (0..leaf.size.frames()).map(move |nth| (leaf.virt.0 + nth * 4096, leaf.frame.0 + nth))
    });
    let pages = pages.filter(|(_, frame)| dump.has_frame(Frame(*frame))).collect();
    match mappings.summary().truncated {
        None => Ok(pages),
        Some(cut) => Err(format!("the walk of {root} was cut at {}", cut.at).into()),
    }
}

fn theirs(dump: &Dump, memory: &MemoryMap<&'static [u8]>, root: GuestPhys) -> Pages {
    let mut pages = Vec::new();
    let memory = MappedPhysicalMemory::with_info(memory.clone());
    let mut virt = VirtualDma::new(memory, x64::ARCH, x64::new_translator(root.0.into()));
    let mut visit = |found: VirtualTranslation| {
        for nth in 0..found.size as u64 / 4096 {
            let frame = found.out_physical.address().to_umem() as u64 / 4096 + nth;
            if dump.has_frame(Frame(frame)) {
                pages.push((found.in_virtual.to_umem() as u64 + nth * 4096, frame));
            }
        }
        true
    };
    virt.virt_to_phys_range(Address::null(), Address::from(1_u64 << 47), (&mut visit).into());
    virt.virt_to_phys_range(Address::from(!0_u64 << 47), Address::from(!0_u64), (&mut visit).into());
    pages.sort_unstable();
    pages
}
