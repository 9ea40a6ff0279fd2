//! Core files: a guest's memory and registers as an ELF core, for gdb, drgn, Volatility and `architect inspect`. The
//! form of the file is [`introspect::x86::dump`]'s; here is what goes into it.

use std::fs::File;
use std::io;

use abi::GuestPhys;
use abi::layout::{DIRECT_MAP, KERNEL_BASE};
use introspect::matrix::info::describe;
use introspect::x86::dump::{Control, CoreWriter, Cpu, Region, Segment, VmCoreInfo};
use introspect::x86::paging::bits;
use kvm_bindings::{kvm_dtable, kvm_segment};

use vmm::host::memory::GuestMemory;
use vmm::machine::Registers;

/// Memory that is reached through the kernel's image mapping, from address 0 on: it takes the top 2 GiB.
const IMAGE_MAPPING: u64 = 0u64.wrapping_sub(KERNEL_BASE);

/// What is known of a guest that publishes its tables.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// Where its info block is.
    pub info: GuestPhys,
    /// Root of the kernel's own address space.
    pub kernel_root: GuestPhys,
    /// Fingerprint of its image.
    pub image_sha256: &'a str,
}

/// Writes a core file of this memory and these registers. Debuggers are told that memory is where the kernel's image
/// mapping has it, if the guest is the Matrix; else that virtual addresses are the physical ones.
pub fn write(
    file: &mut File,
    memory: &GuestMemory,
    registers: &Registers,
    published: Option<Published<'_>>,
) -> io::Result<()> {
    let virt = |start: u64, bytes: u64| match published {
        None => start,
        Some(_) if start + bytes <= IMAGE_MAPPING => KERNEL_BASE + start,
        Some(_) => DIRECT_MAP + start,
    };
    let regions: Vec<_> = memory
        .regions()
        .map(|region| {
            let (start, bytes) = (region.start, region.bytes);
            Region { start, bytes, virt: virt(start.0, bytes) }
        })
        .collect();
    let cpu = cpu(registers);
    let cr3 = GuestPhys(registers.system.cr3 & bits::ADDRESS);
    let five_levels = cpu.five_levels();
    let vmcoreinfo = match published {
        None => VmCoreInfo::describe("unknown", cr3, cr3, five_levels),
        Some(Published { info, kernel_root, image_sha256 }) => {
            describe(kernel_root, cr3, five_levels, info, Some(image_sha256))
        }
    };
    CoreWriter { regions: &regions, cpus: &[cpu], vmcoreinfo: &vmcoreinfo }.write(memory, file)
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
    use super::*;
    use abi::GuestVirt;
    use introspect::matrix::info::noted_info;
    use introspect::x86::{Dump, PhysicalMemory};
    use kvm_bindings::{kvm_regs, kvm_sregs};
    use std::io::{Read, Seek};

    fn registers() -> Registers {
        let general = kvm_regs { rip: 0xffff_ffff_8010_0000, r15: 15, rsp: 0x7000, ..Default::default() };
        let mut system = kvm_sregs { cr0: 0x8000_0001, cr3: 0x5000, ..Default::default() };
        system.cs =
            kvm_segment { selector: 0x10, type_: 11, s: 1, present: 1, l: 1, g: 1, ..Default::default() };
        Registers { general, system }
    }

    fn written(memory: &GuestMemory, published: Option<Published<'_>>) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, memory, &registers(), published).unwrap();
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
        let published =
            Published { info: GuestPhys(0x3000), kernel_root: GuestPhys(0x4000), image_sha256: "ab" };
        let bytes = written(&memory, Some(published));
        // One note, one segment to load, which stands where the kernel has its image.
        assert_eq!(bytes[56..58], [2, 0]);
        assert_eq!(bytes[64 + 56 + 16..][..8], KERNEL_BASE.to_le_bytes());

        let dump = Dump::core(bytes).unwrap();
        assert_eq!((dump.pieces().len(), dump.remarks()), (1, &[][..]));
        let mut text = [0; 4];
        dump.read(GuestPhys(0x10_0000), &mut text).unwrap();
        assert_eq!(&text, b"text");
        assert_eq!(dump.read_u64(GuestPhys((2 << 20) - 8)), Ok(9 << 56));
        let [cpu] = dump.cpus() else { panic!() };
        assert_eq!(
            (GuestVirt(cpu.rip), cpu.general[15], cpu.rsp()),
            (GuestVirt(0xffff_ffff_8010_0000), 15, 0x7000)
        );
        assert_eq!((cpu.root(), cpu.segments[0].flags), (Some(GuestPhys(0x5000)), 0x00a0_9b00));
        // The kernel's own root goes before that of the process that happened to run.
        assert_eq!(dump.root(), Some(GuestPhys(0x4000)));
        assert_eq!(noted_info(dump.vmcoreinfo()), Some(GuestPhys(0x3000)));
    }

    #[test]
    fn a_guest_that_publishes_nothing_has_a_root_all_the_same() {
        let dump = Dump::core(written(&GuestMemory::new(2).unwrap(), None)).unwrap();
        assert_eq!((dump.root(), noted_info(dump.vmcoreinfo())), (Some(GuestPhys(0x5000)), None));
        assert_eq!(dump.vmcoreinfo().get("OSRELEASE"), Some("unknown"));
    }

    #[test]
    fn empty_memory_takes_no_space() {
        use std::os::unix::fs::MetadataExt;
        let memory = GuestMemory::new(64).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, &memory, &registers(), None).unwrap();
        let about = file.metadata().unwrap();
        assert!(about.len() > 64 << 20 && about.blocks() * 512 < 1 << 20);
    }
}
