//! Kernels of a few instructions: for probes, measurements, tests and examples that need a guest with one
//! purpose.

use std::io;

use abi::GuestPhys;
use abi::layout::PAGE_SIZE;
use devices::watchdog::{Stages, Timeout};
use kvm_bindings::kvm_regs;

use crate::error::{Error, VmmError};
use crate::host::cpu;
use crate::machine::loader::{Blob, Image};
pub use crate::machine::tiny_elf::{BASE, CODE_AT, elf};
use crate::machine::vm::{Machine, MachineConfig};

/// Where a kernel in 64-bit mode sees the first GiB of its memory: 2 GiB below the end of all addresses.
pub const KERNEL: u64 = 0xffff_ffff_8000_0000;

/// Its page tables, from the root down.
const TABLES: [u64; 3] = [0x8_0000, 0x8_1000, 0x8_2000];
/// Entries of page tables: present, writable, accessed; and for 2 MiB, written (Intel SDM vol. 3, 5.5).
const TABLE: u64 = 0x23;
const LARGE_PAGE: u64 = 0xe3;

/// Switches a machine at power-on to 64-bit mode, with its code at an address of [`KERNEL`]: the state in
/// which kernels run.
pub fn enter_kernel<W: io::Write>(machine: &mut Machine<W>) -> Result<(), Error> {
    let write = |at: u64, entry: u64| {
        let written = machine.memory().write(GuestPhys(at), &entry.to_le_bytes());
        written.map_err(|_| VmmError::Probe("no memory for page tables".into()))
    };
    let [root, middle, table] = TABLES;
    write(root + 8 * (KERNEL >> 39 & 511), middle | TABLE)?;
    write(middle + 8 * (KERNEL >> 30 & 511), table | TABLE)?;
    for nth in 0..PAGE_SIZE / 8 {
        write(table + 8 * nth, nth << 21 | LARGE_PAGE)?;
    }
    let mut system = machine.vcpu().sregs()?;
    cpu::set_long_mode(&mut system, GuestPhys(root));
    machine.vcpu().set_sregs(&system)?;
    machine.vcpu().set_regs(&kvm_regs { rip: KERNEL + BASE + CODE_AT, rflags: 2, ..Default::default() })?;
    Ok(())
}

/// The configuration of a guest of this 32-bit code, with so many MiB of memory, a watchdog that does
/// nothing, and no module.
pub fn config(name: &str, code: &[u8], memory_mib: u32) -> Result<MachineConfig, Error> {
    Ok(MachineConfig {
        memory_mib,
        image: Image::check(Blob { name: name.to_owned(), bytes: elf(code).into() })?,
        cmdline: String::new(),
        module: None,
        timeout: Timeout::Wall,
        stages: Stages::default(),
    })
}
