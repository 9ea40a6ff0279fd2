//! Reads an x86-64 guest from outside: its page tables, its address spaces, and which of them map a frame.
//!
//! The crate knows nothing of KVM. It needs guest-physical memory, as a trait: [`x86::PhysicalMemory`]. A
//! dump in a file and a byte vector implement it; a VMM implements it for the memory of a running guest.
//!
//! - [`x86`] reads any guest: memory and dumps, page walks, address spaces found in memory, mappings of a
//!   frame, symbols.
//! - `matrix` (feature `matrix`, on by default) reads the tables of the Matrix, the guest kernel of this
//!   workspace, and checks which mappings its sharing policy does not permit.
//!
//! Nothing read from a guest is trusted: for any contents of its memory, a reading ends within a known bound
//! and does not panic.
//!
//! # The first three steps
//!
//! Open a dump, find the address spaces in it, and list the mappings of a frame. The dump may be an ELF core
//! of any x86-64 kernel, from QEMU's `dump-guest-memory` or Linux's kdump. `examples/who_maps.rs` is this as
//! a program.
//!
//! ```
//! use introspect::x86::{Dump, ReverseMap, Space, SpaceId, roots};
//!
//! # use introspect::GuestPhys;
//! # use introspect::x86::dump::{Control, CoreWriter, Cpu, Region, VmCoreInfo};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # // A guest of eight frames. Frames 1 and 2 are roots. Both map frame 7 at 0x1000, and share the kernel's
//! # // table in frame 3.
//! # let mut memory = vec![0_u8; 8 * 4096];
//! # let roots = [(1, 0, 4), (1, 511, 3), (2, 0, 4), (2, 511, 3)];
//! # let below = [(3, 510, 0), (4, 0, 5), (5, 0, 6), (6, 1, 7)];
//! # for (table, index, frame) in roots.into_iter().chain(below) {
//! #     let flags = if table == 3 { 0x83 } else { 7 };
//! #     let entry: u64 = frame << 12 | flags;
//! #     memory[table * 4096 + index * 8..][..8].copy_from_slice(&entry.to_le_bytes());
//! # }
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("guest.core");
//! # let control = Control { cr0: 0x8000_0011, cr3: 0x1000, ..Control::default() };
//! # let cpus = [Cpu { control: Some(control), ..Cpu::default() }];
//! # let regions = [Region { start: GuestPhys(0), bytes: 8 * 4096, virt: 0 }];
//! # let core = CoreWriter { regions: &regions, cpus: &cpus, vmcoreinfo: &VmCoreInfo::default() };
//! # core.write(&memory, &mut std::fs::File::create(&path)?)?;
//! // 1. Open it.
//! let dump = Dump::open(&path)?;
//! let root = dump.root().ok_or("the dump does not say where the page tables are")?;
//!
//! // 2. Find the address spaces: pages that share the kernel's half with that root.
//! let found = roots::sharing(&dump, dump.paging(), dump.frames(), root).roots;
//! let spaces = found.iter().map(|root| Space { id: SpaceId(root.at.0), root: root.at });
//!
//! // 3. List the mappings of a frame, here of the first one that is mapped more than once.
//! let map = ReverseMap::build(&dump, dump.paging(), spaces, ReverseMap::BUDGET);
//! let mappings = map.shared().next().ok_or("no frame is shared")?;
//! for mapping in mappings {
//!     println!("{} is mapped at {} in {}", mapping.frame(), mapping.virt(), map.id(*mapping));
//! }
//! # assert_eq!(found.len(), 2);
//! # let text: Vec<_> = mappings.iter().map(|of| (of.frame().0, of.virt().0, map.id(*of).0)).collect();
//! # assert_eq!(text, [(7, 0x1000, 0x1000), (7, 0x1000, 0x2000)]);
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

#[cfg(feature = "matrix")]
pub mod matrix;
pub mod x86;

pub use address::{Frame, GuestPhys, GuestVirt, PAGE_SIZE};
pub use x86::{
    Budget, Changed, Cycle, Dump, DumpError, Followed, Half, Mapped, Mapping, Mappings, NotMapped,
    OutOfRange, PageSize, Paging, PhysicalMemory, Reach, ReverseMap, Rights, Space, SpaceId, Touched,
    Translation, WalkSummary,
};
