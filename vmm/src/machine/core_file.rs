//! Core files: a guest's memory and registers as a standard ELF core, for gdb, drgn, Volatility.
//!
//! A core has one segment per region of memory. A debugger finds memory by virtual address, and where the kernel has
//! mapped it only the caller can know: the layout is a parameter. The format is [`introspect::x86::dump`]'s.

use std::fs::File;
use std::io;

use abi::GuestPhys;
use introspect::x86::dump::{Control, CoreWriter, Cpu, Segment, VmCoreInfo};
use introspect::x86::paging::bits;
use kvm_bindings::{kvm_dtable, kvm_segment};

use crate::host::memory::{GuestMemory, Region};
use crate::machine::vm::Registers;

/// What a core file says beyond memory and registers.
pub struct Description<'a> {
    /// The virtual address at which the kernel has mapped a region.
    pub virtual_address: &'a dyn Fn(Region) -> u64,
    /// The VMCOREINFO note, by which tools find the kernel's page tables.
    pub vmcoreinfo: &'a VmCoreInfo,
}

/// Writes a core file of a guest about which nothing is known: virtual addresses are the physical ones, and
/// the page tables are those that CR3 names.
///
/// # Errors
///
/// The file cannot be written.
pub fn write(file: &mut File, memory: &GuestMemory, registers: &Registers) -> io::Result<()> {
    let (root, five_levels) = page_tables(registers);
    let vmcoreinfo = VmCoreInfo::describe("unknown", root, root, five_levels);
    let description = Description { virtual_address: &|region| region.start.0, vmcoreinfo: &vmcoreinfo };
    write_described(file, memory, registers, &description)
}

/// Writes a core file of a guest whose kernel is known.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_described(
    file: &mut File,
    memory: &GuestMemory,
    registers: &Registers,
    description: &Description<'_>,
) -> io::Result<()> {
    let regions: Vec<_> = memory
        .regions()
        .map(|region| introspect::x86::dump::Region {
            start: region.start,
            bytes: region.bytes,
            virt: (description.virtual_address)(region),
        })
        .collect();
    let cpu = cpu(registers);
    CoreWriter { regions: &regions, cpus: &[cpu], vmcoreinfo: description.vmcoreinfo }.write(memory, file)
}

/// The root of the page tables in use, and whether they have five levels.
pub fn page_tables(registers: &Registers) -> (GuestPhys, bool) {
    (GuestPhys(registers.system.cr3 & bits::ADDRESS), cpu(registers).five_levels())
}

fn cpu(registers: &Registers) -> Cpu {
    let (r, s) = (&registers.general, &registers.system);
    Cpu {
        general: [
            r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13,
            r.r14, r.r15,
        ],
        rip: r.rip,
        rflags: r.rflags,
        segments: [
            segment(&s.cs),
            segment(&s.ds),
            segment(&s.es),
            segment(&s.fs),
            segment(&s.gs),
            segment(&s.ss),
            segment(&s.ldt),
            segment(&s.tr),
            table(&s.gdt),
            table(&s.idt),
        ],
        control: Some(Control { cr0: s.cr0, cr2: s.cr2, cr3: s.cr3, cr4: s.cr4 }),
    }
}

/// The flags are those of a descriptor's second double word (Intel SDM vol. 3, figure 3-8).
fn segment(segment: &kvm_segment) -> Segment {
    let bits = [
        (segment.type_, 8),
        (segment.s, 12),
        (segment.dpl, 13),
        (segment.present, 15),
        (segment.avl, 20),
        (segment.l, 21),
        (segment.db, 22),
        (segment.g, 23),
    ];
    let flags = bits.into_iter().map(|(value, shift)| u32::from(value) << shift).sum();
    Segment { selector: segment.selector, limit: segment.limit, flags, base: segment.base }
}

fn table(table: &kvm_dtable) -> Segment {
    Segment { limit: table.limit.into(), base: table.base, ..Segment::default() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use introspect::{Dump, PhysicalMemory};
    use kvm_bindings::{kvm_regs, kvm_sregs};

    use super::*;

    fn registers() -> Registers {
        let general = kvm_regs { rip: 0x10_0000, r15: 15, rsp: 0x7000, ..Default::default() };
        let mut system = kvm_sregs { cr0: 0x8000_0001, cr3: 0x5000, ..Default::default() };
        system.cs =
            kvm_segment { selector: 0x10, type_: 11, s: 1, present: 1, l: 1, g: 1, ..Default::default() };
        Registers { general, system }
    }

    fn read_back(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_core_file_reads_back_with_its_registers_and_memory() {
        let memory = GuestMemory::new(2).unwrap();
        memory.write(GuestPhys(0x10_0000), b"text").unwrap();
        memory.write(GuestPhys((2 << 20) - 1), &[9]).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, &memory, &registers()).unwrap();
        let dump = Dump::core(read_back(file)).unwrap();
        assert_eq!((dump.pieces().len(), dump.remarks()), (1, &[][..]));
        let mut text = [0; 4];
        dump.read(GuestPhys(0x10_0000), &mut text).unwrap();
        assert_eq!(&text, b"text");
        assert_eq!(dump.read_u64(GuestPhys((2 << 20) - 8)), Ok(9 << 56));
        let [cpu] = dump.cpus() else { panic!() };
        assert_eq!((cpu.rip, cpu.general[15], cpu.rsp()), (0x10_0000, 15, 0x7000));
        assert_eq!((cpu.root(), cpu.segments[0].flags), (Some(GuestPhys(0x5000)), 0x00a0_9b00));
        assert_eq!(
            (dump.root(), dump.vmcoreinfo().get("OSRELEASE")),
            (Some(GuestPhys(0x5000)), Some("unknown"))
        );
    }

    #[test]
    fn the_layout_decides_the_virtual_addresses_of_the_segments() {
        let memory = GuestMemory::new(2).unwrap();
        let vmcoreinfo = VmCoreInfo::describe("mine", GuestPhys(0x5000), GuestPhys(0x5000), false);
        let description = Description {
            virtual_address: &|region| 0xffff_8000_0000_0000 + region.start.0,
            vmcoreinfo: &vmcoreinfo,
        };
        let mut file = tempfile::tempfile().unwrap();
        write_described(&mut file, &memory, &registers(), &description).unwrap();
        let bytes = read_back(file);
        // One note, one segment to load.
        assert_eq!(bytes[56..58], [2, 0]);
        assert_eq!(bytes[64 + 56 + 16..][..8], 0xffff_8000_0000_0000_u64.to_le_bytes());
    }

    #[test]
    fn empty_memory_takes_no_space_in_the_file() {
        use std::os::unix::fs::MetadataExt;
        let memory = GuestMemory::new(64).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, &memory, &registers()).unwrap();
        let about = file.metadata().unwrap();
        assert!(about.len() > 64 << 20 && about.blocks() * 512 < 1 << 20);
    }
}
