//! A small guest for examples and tests: two processes that run the same program, and a page of the first
//! that the second also maps, without a loan.
//!
//! It is the same every time, has 256 KiB and takes no time to make. Real dumps come from `architect run
//! --core`.

use std::fs::File;
use std::io;
use std::path::Path;

use abi::frame::{FrameEntry, FrameKind};
use abi::info::{INFO_MAGIC, Info, VERSION};
use abi::layout::{KERNEL_BASE, PAGE_SIZE};
use abi::loan::Loan;
use abi::process::{Context, DESCRIPTOR_MAGIC, Descriptor, State};
use abi::{Frame, GuestPhys, Pid};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::info::describe;
use crate::x86::dump::{Control, CoreWriter, Cpu, Region};
use crate::x86::paging::bits::{LARGE, NO_EXECUTE, PRESENT, USER, WRITE};

/// Size of the memory in frames.
pub const FRAMES: u64 = 64;
/// The process that owns the page [`LEAKED`].
pub const OWNER: Pid = Pid::new(1, 0);
/// The process that maps that page without a loan.
pub const VISITOR: Pid = Pid::new(2, 0);
/// The page that leaks.
pub const LEAKED: Frame = Frame(32);
/// A page of the program that both processes run.
pub const PROGRAM: Frame = Frame(33);

const INFO: u64 = 1;
const PROCESS_TABLE: u64 = 2;
const FRAME_TABLE: u64 = 3;
const LOAN_TABLE: u64 = 4;
/// The kernel's root, and the two tables below it that all address spaces share.
const KERNEL_ROOT: u64 = 5;
const PRIVATE: u64 = PRESENT | USER | WRITE | NO_EXECUTE;

/// Returns the guest's memory, from address 0 on.
pub fn memory() -> Vec<u8> {
    let mut memory = vec![0; (FRAMES * PAGE_SIZE) as usize];
    let mut frames =
        vec![FrameEntry { kind: FrameKind::Free as u8, ..FrameEntry::default() }; FRAMES as usize];
    let mut used = |frame: u64, kind: FrameKind, owner: Pid| {
        frames[frame as usize] = FrameEntry { kind: kind as u8, owner, ..FrameEntry::default() };
    };
    (0..KERNEL_ROOT).for_each(|frame| used(frame, FrameKind::Kernel, Pid::NONE));
    (KERNEL_ROOT..KERNEL_ROOT + 3).for_each(|frame| used(frame, FrameKind::PageTable, Pid::NONE));
    used(LEAKED.0, FrameKind::User, OWNER);
    used(PROGRAM.0, FrameKind::Program, Pid::NONE);

    // The kernel: the first 2 MiB at the top of the address space, for ring 0 only.
    entry(&mut memory, KERNEL_ROOT, 511, (KERNEL_ROOT + 1) << 12 | PRESENT | WRITE);
    entry(&mut memory, KERNEL_ROOT + 1, 510, (KERNEL_ROOT + 2) << 12 | PRESENT | WRITE);
    entry(&mut memory, KERNEL_ROOT + 2, 0, PRESENT | WRITE | LARGE);

    for (pid, name, descriptor, root, page) in
        [(OWNER, b"owner\0\0", 8, 10, 0x3), (VISITOR, b"visitor", 9, 14, 0x7)]
    {
        used(descriptor, FrameKind::Descriptor, pid);
        (root..root + 4).for_each(|frame| used(frame, FrameKind::PageTable, pid));
        entry(&mut memory, root, 511, (KERNEL_ROOT + 1) << 12 | PRESENT | WRITE);
        for (table, index) in [(root, 0), (root + 1, 0), (root + 2, 4)] {
            entry(&mut memory, table, index, (table + 1) << 12 | PRESENT | USER | WRITE);
        }
        // From 0x80_0000 on: the program, and the page of the first process.
        entry(&mut memory, root + 3, 0, PROGRAM.base().0 | PRESENT | USER);
        entry(&mut memory, root + 3, page, LEAKED.base().0 | PRIVATE);

        let mut label = [0; 16];
        label[..name.len()].copy_from_slice(name);
        let context = Context { rip: 0x80_0010, cs: 0x33, ..Context::default() };
        let (state, root) = (State::Ready as u8, root as u32);
        let about = Descriptor {
            magic: DESCRIPTOR_MAGIC,
            pid,
            root,
            uid: 1000,
            state,
            ring: 3,
            name: label,
            context,
            ..Descriptor::new_zeroed()
        };
        put(&mut memory, descriptor * PAGE_SIZE, &about);
        put(&mut memory, PROCESS_TABLE * PAGE_SIZE + 4 * pid.slot() as u64, &(descriptor as u32));
    }

    let info = Info {
        magic: INFO_MAGIC,
        version: VERSION,
        tick: 7,
        kernel_root: Frame(KERNEL_ROOT).base(),
        process_table: Frame(PROCESS_TABLE).base(),
        frame_table: Frame(FRAME_TABLE).base(),
        loan_table: Frame(LOAN_TABLE).base(),
        process_slots: 4,
        frames: FRAMES as u32,
        loan_slots: 1,
        alive: 2,
        current: OWNER,
        ..Info::default()
    };
    put(&mut memory, INFO * PAGE_SIZE, &info);
    put(&mut memory, FRAME_TABLE * PAGE_SIZE, frames.as_slice());
    put(&mut memory, LOAN_TABLE * PAGE_SIZE, &Loan::default());
    memory
}

/// Writes the guest to a file, as an ELF core.
///
/// # Errors
/// The system's error if the file cannot be written.
pub fn write_core(path: &Path) -> io::Result<()> {
    let cr3 = Frame(10).base();
    let control = Control { cr0: 0x8000_0011, cr3: cr3.0, ..Control::default() };
    let cpu = Cpu { rip: 0x80_0010, control: Some(control), ..Cpu::default() };
    let (start, bytes) = (GuestPhys(0), FRAMES * PAGE_SIZE);
    let root = Frame(KERNEL_ROOT).base();
    let vmcoreinfo = describe(root, cr3, false, Frame(INFO).base(), None);
    let regions = [Region { start, bytes, virt: KERNEL_BASE }];
    let writer = CoreWriter { regions: &regions, cpus: &[cpu], vmcoreinfo: &vmcoreinfo };
    writer.write(&memory(), &mut File::create(path)?)
}

fn entry(memory: &mut [u8], table: u64, index: u64, value: u64) {
    put(memory, table * PAGE_SIZE + index * 8, &value);
}

fn put<T: IntoBytes + Immutable + ?Sized>(memory: &mut [u8], at: u64, value: &T) {
    let bytes = value.as_bytes();
    memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
}
