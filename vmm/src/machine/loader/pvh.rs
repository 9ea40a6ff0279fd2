//! What a PVH kernel is started with: start info, memory map, command line and module, and where they are.
//!
//! ```text
//! 0x0000_0000  first page: kept empty, so that null pointers of a kernel's own hit nothing of use
//! 0x0000_6000  start info, and the list of modules behind it    (EBX points here)
//! 0x0000_7000  memory map
//! 0x0000_8000  command line
//! 0x0000_c000  end of what is ours
//! 0x0009_fc00  end of low memory; up to 1 MiB no memory is promised, as on a PC
//! 0x0010_0000  the rest of memory: the kernel, and the module in the highest pages below 3 GiB
//! ```
//!
//! Source: Xen "x86/HVM direct boot ABI" (`public/arch-x86/hvm/start_info.h`), version 1 of the structure. A
//! `Plan` is made and checked first, then written.

use abi::GuestPhys;
use abi::layout::PAGE_SIZE;
use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::GuestAddress;

use crate::host::memory::{GuestMemory, HOLE_END, HOLE_START, MAX_MIB, Region};
use crate::machine::loader::error::{ImageError, Problem};
use crate::machine::loader::{Blob, Image};

const START_INFO: u64 = 0x6000;
const MODULE_LIST: u64 = 0x6040;
const MEMORY_MAP: u64 = 0x7000;
const COMMAND_LINE: u64 = 0x8000;
const OURS_END: u64 = 0xc000;
const LOW_END: u64 = 0x9_fc00;
const HIGH_START: u64 = 0x10_0000;

/// Longest command line, without its final zero.
pub const MAX_COMMAND_LINE: usize = (OURS_END - COMMAND_LINE) as usize - 1;

/// Marks a start info.
const START_MAGIC: u32 = 0x336e_c578;
/// Version of the structure: the first one that has a memory map.
const START_VERSION: u32 = 1;
/// Kinds of ranges in the memory map (ACPI 6.5, 15).
const MAP_RAM: u32 = 1;
const MAP_RESERVED: u32 = 2;

const _: () = {
    assert!(START_INFO + size_of::<hvm_start_info>() as u64 <= MODULE_LIST);
    assert!(MODULE_LIST + size_of::<hvm_modlist_entry>() as u64 <= MEMORY_MAP);
    // Four entries at most, see `memory_map`.
    assert!(MEMORY_MAP + 4 * size_of::<hvm_memmap_table_entry>() as u64 <= COMMAND_LINE);
    assert!(COMMAND_LINE < OURS_END && OURS_END <= LOW_END);
};

/// How a loaded kernel is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its first instruction.
    pub entry: GuestPhys,
    /// Its start info.
    pub start_info: GuestPhys,
}

/// Why no guest can have a segment at these addresses, however much memory it has.
pub(crate) fn forbidden(start: u64, end: u64) -> Option<&'static str> {
    let meets = |from: u64, to: u64| start < to && from < end;
    let top = HOLE_END + (u64::from(MAX_MIB) << 20) - HOLE_START;
    if meets(0, PAGE_SIZE) {
        Some("but the first page of memory is kept empty")
    } else if meets(START_INFO, OURS_END) {
        Some("but the start info, memory map and command line stand at 0x6000 to 0xc000")
    } else if meets(LOW_END, HIGH_START) {
        Some("but there is no memory from 0x9fc00 to 0x100000")
    } else if meets(HOLE_START, HOLE_END) {
        Some("but there is no memory from 3 GiB to 4 GiB")
    } else if end > top {
        Some("but no guest has memory there")
    } else {
        None
    }
}

/// The memory map that a guest with these regions is given.
fn memory_map(regions: &[Region]) -> Vec<hvm_memmap_table_entry> {
    let entry = |start: u64, end: u64, type_| hvm_memmap_table_entry {
        addr: start,
        size: end - start,
        type_,
        reserved: 0,
    };
    let mut map = vec![entry(0, LOW_END, MAP_RAM), entry(LOW_END, HIGH_START, MAP_RESERVED)];
    for region in regions {
        let start = region.start.0.max(HIGH_START);
        map.push(entry(start, region.start.0 + region.bytes, MAP_RAM));
    }
    map
}

/// Everything that a kernel is started with, placed and checked.
pub(crate) struct Plan<'a> {
    start: Start,
    map: Vec<hvm_memmap_table_entry>,
    cmdline: &'a str,
    module: Option<(GuestPhys, &'a [u8])>,
}

impl<'a> Plan<'a> {
    /// Finds a place for everything in memory with these regions, the first of which starts at 0.
    pub(crate) fn new(
        image: &Image,
        regions: &[Region],
        cmdline: &'a str,
        module: Option<&'a Blob>,
    ) -> Result<Self, ImageError> {
        let err = |problem| ImageError::new(image.name(), problem);
        if cmdline.len() > MAX_COMMAND_LINE {
            let problem = Problem::CommandLineTooLong { bytes: cmdline.len(), limit: MAX_COMMAND_LINE };
            return Err(ImageError::new("the command line", problem));
        }
        if cmdline.contains('\0') {
            return Err(ImageError::new("the command line", Problem::CommandLineZero));
        }
        let memory_mib = regions.iter().map(|region| region.bytes).sum::<u64>() >> 20;
        let ends = |region: &Region| region.start.0 + region.bytes;
        for segment in image.segments() {
            if !regions.iter().any(|r| r.start.0 <= segment.start && segment.end <= ends(r)) {
                let end = segment.end;
                let hole = if end > HOLE_END { HOLE_END - HOLE_START } else { 0 };
                let needed_mib = (end - hole).div_ceil(1 << 20);
                return Err(err(Problem::MemoryTooSmall { end, memory_mib, needed_mib }));
            }
        }
        let low_end = regions.first().map_or(0, ends);
        let module = module.map(|blob| place_module(image, blob, low_end, memory_mib)).transpose()?;
        let start = Start { entry: image.entry(), start_info: GuestPhys(START_INFO) };
        Ok(Self { start, map: memory_map(regions), cmdline, module })
    }

    /// Writes it.
    pub(crate) fn write(&self, memory: &GuestMemory) -> Result<Start, String> {
        let mut info = hvm_start_info {
            magic: START_MAGIC,
            version: START_VERSION,
            cmdline_paddr: COMMAND_LINE,
            memmap_paddr: MEMORY_MAP,
            memmap_entries: self.map.len() as u32,
            ..Default::default()
        };
        let mut modules = Vec::new();
        if let Some((at, bytes)) = self.module {
            info.nr_modules = 1;
            info.modlist_paddr = MODULE_LIST;
            modules.push(hvm_modlist_entry { paddr: at.0, size: bytes.len() as u64, ..Default::default() });
            memory.write(at, bytes).map_err(|e| e.to_string())?;
        }
        // The zero behind the text is there already: the memory is new.
        memory.write(GuestPhys(COMMAND_LINE), self.cmdline.as_bytes()).map_err(|e| e.to_string())?;
        let mut params = BootParams::new(&info, GuestAddress(START_INFO));
        params.set_sections(&self.map, GuestAddress(MEMORY_MAP));
        if !modules.is_empty() {
            params.set_modules(&modules, GuestAddress(MODULE_LIST));
        }
        PvhBootConfigurator::write_bootparams(&params, memory.map()).map_err(|e| e.to_string())?;
        Ok(self.start)
    }
}

/// Writes the command line of a guest that was started without one and has not read it yet.
pub fn write_command_line(memory: &GuestMemory, cmdline: &str) {
    // Every guest has memory there, and the zero behind the text is there already.
    let _ = memory.write(GuestPhys(COMMAND_LINE), cmdline.as_bytes());
}

/// The highest pages below 3 GiB, above everything that the kernel has there.
fn place_module<'a>(
    image: &Image,
    blob: &'a Blob,
    low_end: u64,
    memory_mib: u64,
) -> Result<(GuestPhys, &'a [u8]), ImageError> {
    let bytes = blob.bytes.len() as u64;
    let kernel_end = image.segments().iter().map(|s| s.end).filter(|end| *end <= low_end).max();
    let floor = kernel_end.unwrap_or(0).max(HIGH_START);
    match low_end.checked_sub(bytes).map(|at| at & !(PAGE_SIZE - 1)) {
        Some(at) if at >= floor => Ok((GuestPhys(at), &blob.bytes)),
        _ => {
            let needed_mib = (floor + bytes).div_ceil(PAGE_SIZE).div_ceil((1 << 20) / PAGE_SIZE);
            // Above the hole there is no place for a module.
            let needed_mib = Some(needed_mib).filter(|mib| *mib <= HOLE_START >> 20);
            Err(ImageError::new(&blob.name, Problem::ModuleTooLarge { bytes, memory_mib, needed_mib }))
        }
    }
}
