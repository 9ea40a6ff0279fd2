//! Core files of the Matrix: what [`vmm::machine::core_file`] writes, and where the kernel has its memory and
//! its tables.

use std::fs::File;
use std::io;

use abi::GuestPhys;
use abi::layout::{DIRECT_MAP, KERNEL_BASE};
use introspect::matrix::info::describe;
use vmm::host::memory::{GuestMemory, Region};
use vmm::machine::Registers;
use vmm::machine::core_file::{self, Description};

/// Memory that is reached through the kernel's image mapping, from address 0 on: the mapping takes the top 2
/// GiB.
const IMAGE_MAPPING: u64 = 0u64.wrapping_sub(KERNEL_BASE);

/// What a guest has published about itself.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// The address of its info block.
    pub info: GuestPhys,
    /// The root of the kernel's own address space.
    pub kernel_root: GuestPhys,
    /// SHA-256 of its image.
    pub image_sha256: &'a str,
}

/// Writes a core file of this memory and these registers. Debuggers find memory where the kernel's image
/// mapping has it; in a guest that has not yet published anything, virtual addresses are the physical ones.
///
/// # Errors
///
/// The file cannot be written.
pub fn write(
    file: &mut File,
    memory: &GuestMemory,
    registers: &Registers,
    published: Option<Published<'_>>,
) -> io::Result<()> {
    let Some(published) = published else { return core_file::write(file, memory, registers) };
    let (cr3, five_levels) = core_file::page_tables(registers);
    let Published { info, kernel_root, image_sha256 } = published;
    let vmcoreinfo = describe(kernel_root, cr3, five_levels, info, Some(image_sha256));
    let description = Description { virtual_address: &virtual_address, vmcoreinfo: &vmcoreinfo };
    core_file::write_described(file, memory, registers, &description)
}

fn virtual_address(region: Region) -> u64 {
    let start = region.start.0;
    let base = if start + region.bytes <= IMAGE_MAPPING { KERNEL_BASE } else { DIRECT_MAP };
    base + start
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use introspect::Dump;
    use introspect::matrix::info::noted_info;
    use kvm_bindings::{kvm_regs, kvm_sregs};

    use super::*;

    fn written(published: Option<Published<'_>>) -> Vec<u8> {
        let memory = GuestMemory::new(2).unwrap();
        let system = kvm_sregs { cr0: 0x8000_0001, cr3: 0x5000, ..Default::default() };
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, &memory, &Registers { general: kvm_regs::default(), system }, published).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_core_file_names_the_kernels_root_and_tables() {
        let published =
            Published { info: GuestPhys(0x3000), kernel_root: GuestPhys(0x4000), image_sha256: "ab" };
        let bytes = written(Some(published));
        assert_eq!(bytes[64 + 56 + 16..][..8], KERNEL_BASE.to_le_bytes());
        let dump = Dump::core(bytes).unwrap();
        // The kernel's own root takes precedence over that of the process that happened to run.
        assert_eq!(dump.root(), Some(GuestPhys(0x4000)));
        assert_eq!(noted_info(dump.vmcoreinfo()), Some(GuestPhys(0x3000)));
    }

    #[test]
    fn a_guest_that_has_published_nothing_has_the_root_in_cr3() {
        let dump = Dump::core(written(None)).unwrap();
        assert_eq!((dump.root(), noted_info(dump.vmcoreinfo())), (Some(GuestPhys(0x5000)), None));
    }

    #[test]
    fn memory_beyond_the_image_mapping_is_found_in_the_direct_map() {
        let region = |start, bytes| Region { start: GuestPhys(start), bytes };
        assert_eq!(virtual_address(region(0, 2 << 30)), KERNEL_BASE);
        assert_eq!(virtual_address(region(0, 3 << 30)), DIRECT_MAP);
        assert_eq!(virtual_address(region(4 << 30, 1 << 20)), DIRECT_MAP + (4 << 30));
    }
}
