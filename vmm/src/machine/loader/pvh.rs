//! What a PVH kernel is started with: start info, memory map, command line and module; and loading it.
//!
//! Source: Xen "x86/HVM direct boot ABI" (`public/arch-x86/hvm/start_info.h`), version 1 of the structure. A
//! `Plan` is made and checked first, then written.

use std::io::Cursor;

use abi::GuestPhys;
use abi::layout::PAGE_SIZE;
use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use linux_loader::loader::{Elf, KernelLoader};
use vm_memory::GuestAddress;

use crate::host::memory::{GuestMemory, HOLE_END, HOLE_START, Region, regions};
use crate::machine::loader::error::{ImageError, Problem};
use crate::machine::loader::image::{Blob, Image};
use crate::machine::loader::layout::{
    COMMAND_LINE, HIGH_START, LOW_END, MEMORY_MAP, MODULE_LIST, OURS_END, START_INFO,
};

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

/// Everything that a kernel is started with, with checked addresses.
pub(crate) struct Plan<'a> {
    start: Start,
    map: Vec<hvm_memmap_table_entry>,
    cmdline: &'a str,
    module: Option<(GuestPhys, &'a [u8])>,
}

impl<'a> Plan<'a> {
    /// Finds an address for everything in memory with these regions, the first of which starts at 0.
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

    /// Writes it into memory.
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

/// Finds the highest pages below 3 GiB for a module, above the kernel's segments.
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

impl Image {
    /// Checks that a guest with this much memory can hold the kernel and the module.
    ///
    /// # Errors
    ///
    /// They do not fit.
    pub fn fits(&self, memory_mib: u32, cmdline: &str, module: Option<&Blob>) -> Result<(), ImageError> {
        Plan::new(self, &regions(memory_mib), cmdline, module).map(|_| ())
    }

    /// Loads the kernel and everything that it is started with into zeroed memory.
    ///
    /// # Errors
    ///
    /// Kernel, command line and module do not fit into the memory.
    pub fn load(
        &self,
        memory: &GuestMemory,
        cmdline: &str,
        module: Option<&Blob>,
    ) -> Result<Start, ImageError> {
        let regions: Vec<_> = memory.regions().collect();
        let plan = Plan::new(self, &regions, cmdline, module)?;
        let refused = |error: String| ImageError::new(self.name(), Problem::Loader(error));
        Elf::load(memory.map(), None, &mut Cursor::new(self.bytes()), None)
            .map_err(|error| refused(error.to_string()))?;
        plan.write(memory).map_err(refused)
    }
}
