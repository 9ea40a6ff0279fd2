//! A quirk of hosts with shadow page tables: KVM notices when the *guest* writes its page tables, and misses
//! it when the VMM does. To probe for it, a guest of a few instructions reads through a mapping, which is
//! then changed in the way in which a restore changes memory.

use abi::GuestPhys;
use abi::layout::PAGE_SIZE;
use kvm_bindings::{CpuId, kvm_regs};

use crate::error::{Error, VmmError};
use crate::host::cpu;
use crate::host::exit::Exit;
use crate::host::kvm::{Kvm, Vcpu};
use crate::host::memory::{GuestMemory, MIN_MIB};

/// The layout of the probe: code; page tables from the root down; two frames, one of which is mapped.
const CODE: u64 = 0x1000;
const TABLES: [u64; 4] = [0x2000, 0x3000, 0x4000, 0x5000];
const FRAMES: [u64; 2] = [0x6000, 0x7000];
/// The page through which the guest reads.
const PAGE: u64 = 0x8000;
/// `again: mov eax, [PAGE]; out 0x80, al; jmp again`, 64-bit.
const PROGRAM: [u8; 11] = [0x8b, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0xe6, 0x80, 0xeb, 0xf5];
/// Entries of page tables: present, writable (Intel SDM vol. 3, 5.5).
const ENTRY: u64 = 3;

/// Whether KVM misses it when the VMM writes a guest's page tables.
pub(crate) fn overlooked(kvm: &Kvm, cpuid: &CpuId) -> Result<bool, Error> {
    let memory = GuestMemory::new(MIN_MIB)?;
    let write = |at: u64, bytes: &[u8]| {
        memory.write(GuestPhys(at), bytes).map_err(|_| VmmError::Probe("no memory for a probe".into()))
    };
    let enter = |table: u64, page: u64, frame: u64| {
        write(table + 8 * (page / PAGE_SIZE), &(frame | ENTRY).to_le_bytes())
    };
    for pair in TABLES.windows(2) {
        enter(pair[0], 0, pair[1])?;
    }
    let [root, .., table] = TABLES;
    enter(table, CODE, CODE)?;
    enter(table, PAGE, FRAMES[0])?;
    write(CODE, &PROGRAM)?;
    write(FRAMES[0], &[1])?;
    write(FRAMES[1], &[2])?;

    let mut vm = kvm.create_logged_vm(&memory)?;
    let mut vcpu = vm.create_vcpu(cpuid)?;
    let mut sregs = vcpu.sregs()?;
    cpu::set_pvh_sregs(&mut sregs);
    cpu::set_long_mode(&mut sregs, GuestPhys(root));
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&kvm_regs { rip: CODE, rflags: 2, ..Default::default() })?;
    let before = look(&mut vcpu)?;
    while vcpu.sync_state()?.is_some() {}
    vm.forget_written();
    enter(table, PAGE, FRAMES[1])?;
    let after = look(&mut vcpu)?;
    match (before, after) {
        (1, 2) => Ok(false),
        (1, 1) => Ok(true),
        other => Err(VmmError::Probe(format!("it read through a mapping and found {other:?}")).into()),
    }
}

/// The value that the guest reads.
fn look(vcpu: &mut Vcpu) -> Result<u8, VmmError> {
    for _ in 0..16 {
        match vcpu.run()? {
            Exit::PortOut { data: [value], .. } => return Ok(*value),
            Exit::Interrupted => {}
            exit => return Err(VmmError::Probe(format!("it stopped with {exit:?}"))),
        }
    }
    Err(VmmError::Probe("it does not run".into()))
}
