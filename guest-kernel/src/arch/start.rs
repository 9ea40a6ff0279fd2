//! From the loader's start info to a running kernel: memory, command line, module; then the first processes.
//!
//! Structures of the start info: Xen, `xen/include/public/arch-x86/hvm/start_info.h`.

use core::cell::UnsafeCell;
use core::fmt::Write;

use abi::flow::{Flow, Gate};
use abi::frame::FrameEntry;
use abi::info::{Doorbell, INFO_MAGIC, Info, VERSION};
use abi::layout::{DIRECT_MAP, KERNEL_BASE, KERNEL_PHYS_END, MAX_MEMORY, PAGE_SIZE, PORT_DOORBELL};
use abi::loan::Loan;
use abi::process::PROCESS_SLOTS;
use abi::service::{SERVICE_NONE, SERVICE_SLOTS, Service};
use abi::trace::Record;
use abi::{Frame, GuestPhys, Pid};
use zerocopy::FromBytes;

use super::machine::{HostSide, Machine};
use super::serial::Line;
use super::{apic, entry, machine, port, processes, serial, tables};
use crate::base::TRACE_SLOTS;
use crate::base::hardware::Hardware;
use crate::base::module::Module;
use crate::base::params::{Clock, Params, number};
use crate::ipc::{FLOW_SLOTS, GATE_SLOTS};
use crate::kernel::{Kernel, Tables};
use crate::mem::LOAN_SLOTS;
use crate::mem::pager::Pager;
use crate::mem::space::{NO_EXECUTE, PRESENT, WRITE};
use crate::proc::lives::Birth;

const START_MAGIC: u32 = 0x336e_c578;
const MEMORY_RAM: u32 = 1;

/// `hvm_start_info`.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_entries: u32,
    reserved: u32,
}

/// `hvm_modlist_entry`.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct ModuleEntry {
    at: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

/// `hvm_memmap_table_entry`.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct MemoryEntry {
    at: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// The tables that the host reads, in one place, which `kernel.ld` fixes.
#[repr(C, align(4096))]
struct Published {
    /// The info block's page: the guest's part, then (at `FROM_HOST`) the host's.
    info: UnsafeCell<[u8; 4096]>,
    ring: UnsafeCell<[Record; TRACE_SLOTS]>,
    loans: UnsafeCell<[Loan; LOAN_SLOTS]>,
    processes: UnsafeCell<[u32; PROCESS_SLOTS]>,
    flows: UnsafeCell<[Flow; FLOW_SLOTS]>,
    gates: UnsafeCell<[Gate; GATE_SLOTS]>,
    services: UnsafeCell<[Service; SERVICE_SLOTS]>,
}

/// The page table of the image, which is smaller than 2 MiB.
#[repr(C, align(4096))]
struct ImageTable(UnsafeCell<[u64; 512]>);

// SAFETY: one CPU; `start` takes the only references, once.
unsafe impl Sync for Published {}
// SAFETY: as above.
unsafe impl Sync for ImageTable {}

#[unsafe(link_section = ".published")]
static PUBLISHED: Published = Published {
    info: UnsafeCell::new([0; 4096]),
    ring: UnsafeCell::new(
        [Record { tick: 0, kind: 0, reserved: 0, pid: Pid::NONE, a: 0, b: 0, c: 0 }; TRACE_SLOTS],
    ),
    loans: UnsafeCell::new(
        [Loan {
            state: 0,
            id: 0,
            lender: Pid::NONE,
            borrower: Pid::NONE,
            window: abi::GuestVirt(0),
            source: abi::GuestVirt(0),
            pages: 0,
            next: 0,
            frames: [0; abi::layout::LOAN_PAGES],
            reserved: [0; 2],
        }; LOAN_SLOTS],
    ),
    processes: UnsafeCell::new([0; PROCESS_SLOTS]),
    flows: UnsafeCell::new(
        [Flow { from: Pid::NONE, to: Pid::NONE, port: 0, last: 0, messages: 0, damaged: 0, bytes: 0 };
            FLOW_SLOTS],
    ),
    gates: UnsafeCell::new([Gate { pid: Pid::NONE, bytes: 0, since: 0, sequence: 0 }; GATE_SLOTS]),
    services: UnsafeCell::new(
        [Service {
            pid: Pid::NONE,
            program: 0,
            uid: 0,
            restarts: 0,
            argument: 0,
            started: 0,
            warm: 0,
            priority: 0,
            state: SERVICE_NONE,
            reserved: [0; 10],
        }; SERVICE_SLOTS],
    ),
};
static IMAGE_TABLE: ImageTable = ImageTable(UnsafeCell::new([0; 512]));

/// The boot module that is part of the image; a module from the loader takes its place.
#[repr(C, align(4096))]
struct Aligned<const N: usize>([u8; N]);

const MODULE: &[u8] = include_bytes!(env!("MATRIX_MODULE"));
#[unsafe(link_section = ".module")]
static IMAGE_MODULE: Aligned<{ MODULE.len() }> = Aligned(*include_bytes!(env!("MATRIX_MODULE")));

unsafe extern "C" {
    static boot_pml4: [u64; 512];
    static boot_pd_image: [u64; 512];
    static __text_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
}

/// The info block, for handlers that trust nothing else: only to be read as plain numbers.
pub(super) fn info() -> *mut Info {
    PUBLISHED.info.get().cast()
}

/// The trace ring, for the NMI handler.
pub(super) fn ring() -> *mut Record {
    PUBLISHED.ring.get().cast()
}

fn physical<T: ?Sized>(at: *const T) -> GuestPhys {
    GuestPhys(at.cast::<u8>() as u64 - KERNEL_BASE)
}

/// Reads a structure of the loader's.
fn read<T: FromBytes>(at: u64) -> T {
    assert!(at != 0 && at < MAX_MEMORY - PAGE_SIZE, "the loader gave an address beyond 1 GiB: {at:#x}");
    // SAFETY: the direct map covers the address, any bytes make a `T`, and nothing writes there.
    unsafe { ((DIRECT_MAP + at) as *const T).read_unaligned() }
}

/// The bytes of the loader's from `at` on, as a slice of the direct map.
fn bytes(at: u64, len: u64) -> &'static [u8] {
    assert!(
        at != 0 && at < MAX_MEMORY && len <= MAX_MEMORY - at,
        "the loader gave memory beyond 1 GiB: {at:#x}"
    );
    // SAFETY: the direct map covers the range; the pager never hands it out (module) or it lies below 1 MiB
    // or in frames that are not yet handed out while it is read (command line).
    unsafe { core::slice::from_raw_parts((DIRECT_MAP + at) as *const u8, len as usize) }
}

/// Called by `boot` on the kernel stack, with the address of the start info.
pub(super) extern "C" fn start(start_info: u32) -> ! {
    serial::init();
    tables::init();
    entry::init();
    protect_image();
    let start: StartInfo = read(u64::from(start_info));
    assert!(start.magic == START_MAGIC, "not started by the PVH protocol");

    // SAFETY: `start` runs once; these are the only references to the statics from here on, but for the raw
    // reads of the NMI handler and the panic path, which do not come back here.
    let tables = unsafe {
        Tables {
            info: &mut *info(),
            processes: &mut *PUBLISHED.processes.get(),
            loans: &mut *PUBLISHED.loans.get(),
            ring: &mut *PUBLISHED.ring.get(),
            flows: &mut *PUBLISHED.flows.get(),
            gates: &mut *PUBLISHED.gates.get(),
            services: &mut *PUBLISHED.services.get(),
        }
    };
    // SAFETY: the info page lives for ever and only the host writes its second part.
    let host = unsafe { HostSide::new(PUBLISHED.info.get().cast()) };
    let memory = memory_end(&start);
    let frames = memory / PAGE_SIZE;
    let mut machine = Machine { frames, host };

    let table_bytes = frames * size_of::<FrameEntry>() as u64;
    let first = GuestPhys(KERNEL_PHYS_END).frame();
    let after = Frame(first.0 + table_bytes.div_ceil(PAGE_SIZE));
    describe(tables.info, first.base(), frames as u32);
    // From here on the host fills frames for us, if there is one.
    port::out32(PORT_DOORBELL, Doorbell::Hello.value(physical(info())));
    for frame in first.0..after.0 {
        machine.zero(Frame(frame));
    }
    // SAFETY: the frames were just set aside for the table and zeroed; zero is a valid entry.
    let frame_table = unsafe {
        core::slice::from_raw_parts_mut((DIRECT_MAP + first.base().0) as *mut FrameEntry, frames as usize)
    };

    let line = command_line(&start);
    let params = Params::parse(line);
    if params.clock == Clock::Apic {
        apic::init(params.tick_us);
    }
    let (module, hole) = find_module(&start);
    let mut pager = Pager::new(frame_table, after.0 as u32, hole);
    if hole == (0, 0) {
        let (from, to) = module.frames();
        pager.mark_programs(from, to);
    }
    let root = tables.info.kernel_root.frame();
    machine::install(Kernel::new(machine, tables, pager, module, params, root));
    machine::with_kernel(|kernel| {
        kernel.set_phone_end(entry::phone_end_address());
        populate(kernel);
        kernel.schedule();
    });
    entry::leave()
}

/// Fills in the info block: where the host finds all other tables.
fn describe(info: &mut Info, frame_table: GuestPhys, frames: u32) {
    *info = Info {
        magic: INFO_MAGIC,
        version: VERSION,
        // The boot section is linked at its physical address.
        kernel_root: GuestPhys((&raw const boot_pml4) as u64),
        process_table: physical(PUBLISHED.processes.get()),
        frame_table,
        loan_table: physical(PUBLISHED.loans.get()),
        trace_ring: physical(PUBLISHED.ring.get()),
        flow_table: physical(PUBLISHED.flows.get()),
        gate_table: physical(PUBLISHED.gates.get()),
        service_table: physical(PUBLISHED.services.get()),
        process_slots: PROCESS_SLOTS as u32,
        frames,
        loan_slots: LOAN_SLOTS as u32,
        trace_slots: TRACE_SLOTS as u32,
        flow_slots: FLOW_SLOTS as u32,
        gate_slots: GATE_SLOTS as u32,
        service_slots: SERVICE_SLOTS as u32,
        ..*info
    };
}

/// Starts the kernel processes, then what the start list names.
fn populate(kernel: &mut machine::GuestKernel) {
    let _ = writeln!(
        Line::new(),
        "matrix: up, {} frames, seed {}, pager {}",
        kernel.info().frames,
        kernel.params().seed,
        if kernel.params().fix_pager { "careful" } else { "fast" }
    );
    kernel
        .spawn_kernel(b"oracle", processes::oracle::run as *const () as u64, 0)
        .expect("no memory for a kernel process");
    kernel
        .spawn_kernel(b"keys", processes::keymaster::run as *const () as u64, 1)
        .expect("no memory for a kernel process");
    let params = kernel.params().clone();
    for start in params.start() {
        let Some(program) = kernel.module().find(start.program) else {
            let name = core::str::from_utf8(start.program).unwrap_or("?");
            let _ = writeln!(Line::new(), "matrix: the boot module has no program `{name}`");
            continue;
        };
        for instance in 0..start.count {
            let argument = match number(start.argument) {
                Some(number) => number + instance,
                None => kernel.module().find(start.argument).map_or(0, |index| index as u64),
            };
            let birth = Birth {
                program,
                parent: Pid::NONE,
                uid: start.uid as u32,
                priority: start.priority as u8,
                argument,
            };
            if let Err(error) = kernel.start_service(birth) {
                let _ = writeln!(Line::new(), "matrix: could not start program {program}: {error:?}");
            }
        }
    }
}

/// The end of the memory that holds the kernel, capped at what it can manage.
fn memory_end(start: &StartInfo) -> u64 {
    for index in 0..u64::from(start.memory_entries) {
        let entry: MemoryEntry = read(start.memory_map + index * size_of::<MemoryEntry>() as u64);
        let end = entry.at.saturating_add(entry.size);
        if entry.kind == MEMORY_RAM && entry.at <= abi::layout::KERNEL_PHYS && end > abi::layout::KERNEL_PHYS
        {
            return end.min(MAX_MEMORY);
        }
    }
    panic!("the loader's memory map does not have the memory at 1 MiB");
}

fn command_line(start: &StartInfo) -> &'static [u8] {
    if start.command_line == 0 {
        return b"";
    }
    let line = bytes(start.command_line, 2048);
    &line[..line.iter().position(|b| *b == 0).unwrap_or(line.len())]
}

/// The boot module: the loader's if it gave one, else the image's own. Also the frames it takes outside the
/// image.
fn find_module(start: &StartInfo) -> (Module, (u32, u32)) {
    if start.modules != 0 {
        let entry: ModuleEntry = read(start.module_list);
        let module = Module::new(bytes(entry.at, entry.size), GuestPhys(entry.at).frame());
        if let Some(module) = module.filter(|_| entry.at.is_multiple_of(PAGE_SIZE)) {
            let hole = module.frames();
            return (module, hole);
        }
        let _ =
            writeln!(Line::new(), "matrix: the loader's module is not a boot module; using the image's own");
    }
    let own: &'static [u8] = &IMAGE_MODULE.0;
    let module = Module::new(own, physical(own.as_ptr()).frame()).expect("the image has no boot module");
    (module, (0, 0))
}

/// Gives the image's sections their rights and removes the low mapping that brought us here.
fn protect_image() {
    let text = physical(&raw const __text_start).0;
    let rodata = physical(&raw const __rodata_start).0;
    let data = physical(&raw const __data_start).0;
    let guard = physical(entry::KERNEL_STACK.bottom()).0;
    // SAFETY: the tables are static and not in use yet; the boot tables are only changed here, through
    // the direct map. Text stays mapped where it is and executable, data writable, so that this code goes on.
    unsafe {
        let image = &mut *IMAGE_TABLE.0.get();
        let mut at = text;
        while at < KERNEL_PHYS_END {
            let rights = match at {
                _ if at == guard => 0,
                _ if at < rodata => PRESENT,
                _ if at < data => PRESENT | NO_EXECUTE,
                _ => PRESENT | WRITE | NO_EXECUTE,
            };
            image[(at >> 12) as usize] = at | rights;
            at += PAGE_SIZE;
        }
        let directory = (DIRECT_MAP + (&raw const boot_pd_image) as u64) as *mut u64;
        directory.write(physical(image).0 | PRESENT | WRITE);
        let root = (DIRECT_MAP + (&raw const boot_pml4) as u64) as *mut u64;
        root.write(0);
    }
    port::load_cr3(port::cr3());
}
