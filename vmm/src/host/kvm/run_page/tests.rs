//! What KVM writes about exits, and what we make of it.

use super::*;
use kvm_bindings::{KVM_EXIT_IO_OUT, kvm_run__bindgen_ty_1__bindgen_ty_4 as Io};

const SHARED: usize = size_of::<kvm_run>();

/// What KVM writes for an access to port 0x3f8, with its data inside of the structure itself.
fn port_access(direction: u32, size: u8, count: u32, data_offset: usize) -> kvm_run {
    let mut run = kvm_run { exit_reason: KVM_EXIT_IO, ..Default::default() };
    run.__bindgen_anon_1.io =
        Io { direction: direction as u8, size, port: 0x3f8, count, data_offset: data_offset as u64 };
    run
}

#[test]
fn a_string_of_port_writes_keeps_its_size_and_count() {
    let offset = std::mem::offset_of!(kvm_run, kvm_valid_regs);
    let mut run = port_access(KVM_EXIT_IO_OUT, 4, 2, offset);
    (run.kvm_valid_regs, run.kvm_dirty_regs) = (0x0807_0605_0403_0201, 0);
    let data: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(parse(&mut run, SHARED).unwrap(), Exit::PortOut { port: 0x3f8, size: 4, data });
}

#[test]
fn an_answer_lands_where_kvm_reads_it() {
    let offset = std::mem::offset_of!(kvm_run, kvm_valid_regs);
    let mut run = port_access(KVM_EXIT_IO_IN, 2, 1, offset);
    let Exit::PortIn { size: 2, data, .. } = parse(&mut run, SHARED).unwrap() else { panic!() };
    data.copy_from_slice(&[0x34, 0x12]);
    assert_eq!(run.kvm_valid_regs, 0x1234);
}

#[test]
fn data_outside_of_the_shared_area_is_not_touched() {
    for (size, count, offset) in
        [(1, 1, SHARED), (4, 2, SHARED - 4), (1, u32::MAX, 0), (0, 1, 0), (4, 1, usize::MAX - 1)]
    {
        let mut run = port_access(KVM_EXIT_IO_OUT, size, count, offset);
        assert!(parse(&mut run, SHARED).is_err());
    }
}

#[test]
fn an_access_to_no_memory_is_cut_at_eight_bytes() {
    let mut run = kvm_run { exit_reason: KVM_EXIT_MMIO, ..Default::default() };
    // SAFETY: a new structure; all its members are plain data.
    let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
    (mmio.phys_addr, mmio.len, mmio.is_write, mmio.data) = (0xd000_0000, 100, 1, [9; 8]);
    let (at, data) = (GuestPhys(0xd000_0000), &[9; 8][..]);
    assert_eq!(parse(&mut run, SHARED).unwrap(), Exit::MmioWrite { at, data });
}

#[test]
fn an_instruction_that_cannot_be_emulated_comes_with_its_bytes() {
    let mut run = kvm_run { exit_reason: KVM_EXIT_INTERNAL_ERROR, ..Default::default() };
    // SAFETY: a new structure; all its members are plain data.
    let failure = unsafe { &mut run.__bindgen_anon_1.emulation_failure };
    (failure.suberror, failure.ndata, failure.flags) = (1, 3, 1);
    // SAFETY: a union with one member.
    let instruction = unsafe { &mut failure.__bindgen_anon_1.__bindgen_anon_1 };
    instruction.insn_size = 200;
    instruction.insn_bytes[..2].copy_from_slice(&[0x0f, 0xb8]);
    let Exit::InternalError(error) = parse(&mut run, SHARED).unwrap() else { panic!() };
    assert_eq!((error.suberror, &error.bytes.as_slice()[..2]), (1, &[0x0f, 0xb8][..]));
    // Other errors have other data.
    run.__bindgen_anon_1.emulation_failure.suberror = 3;
    let Exit::InternalError(error) = parse(&mut run, SHARED).unwrap() else { panic!() };
    assert_eq!((error.suberror, error.bytes.as_slice()), (3, &[][..]));
}

#[test]
fn exits_that_nobody_asked_for_keep_their_number() {
    for (reason, exit) in [
        (KVM_EXIT_HLT, Exit::Halt),
        (KVM_EXIT_SHUTDOWN, Exit::Shutdown),
        (KVM_EXIT_INTR, Exit::Interrupted),
        (KVM_EXIT_FAIL_ENTRY, Exit::FailEntry { reason: 0 }),
        (KVM_EXIT_SYSTEM_EVENT, Exit::SystemEvent(0)),
        (4, Exit::Unknown(4)),
        (12345, Exit::Unknown(12345)),
    ] {
        let mut run = kvm_run { exit_reason: reason, ..Default::default() };
        assert_eq!(parse(&mut run, SHARED).unwrap(), exit);
    }
}
