//! The page that KVM shares with us: what it writes there at an exit, read once into an [`Exit`].
#![allow(unsafe_code)]

use abi::GuestPhys;
use kvm_bindings::{
    KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_IO_IN,
    KVM_EXIT_MMIO, KVM_EXIT_SHUTDOWN, KVM_EXIT_SYSTEM_EVENT, KVM_INTERNAL_ERROR_EMULATION,
    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES, kvm_run,
};

use crate::error::VmmError;
use crate::host::exit::{Exit, InstructionBytes, InternalError};

/// Parses what KVM wrote about the last exit. `shared_bytes` is the length of the area that starts with
/// `run`.
pub(super) fn parse(run: &mut kvm_run, shared_bytes: usize) -> Result<Exit<'_>, VmmError> {
    Ok(match run.exit_reason {
        KVM_EXIT_IO => return parse_port(run, shared_bytes),
        KVM_EXIT_MMIO => {
            // SAFETY: the exit reason says that `mmio` is the field that KVM wrote; all its bytes are plain
            // data.
            let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
            let len = (mmio.len as usize).min(mmio.data.len());
            let (at, data) = (GuestPhys(mmio.phys_addr), &mut mmio.data[..len]);
            if mmio.is_write != 0 { Exit::MmioWrite { at, data } } else { Exit::MmioRead { at, data } }
        }
        KVM_EXIT_HLT => Exit::Halt,
        KVM_EXIT_SHUTDOWN => Exit::Shutdown,
        KVM_EXIT_INTR => Exit::Interrupted,
        KVM_EXIT_INTERNAL_ERROR => {
            // SAFETY: the exit reason says that `internal` is the field that KVM wrote, and
            // `emulation_failure` is the same bytes with names; all of them are plain data.
            let (internal, failure) =
                unsafe { (run.__bindgen_anon_1.internal, run.__bindgen_anon_1.emulation_failure) };
            // SAFETY: a union with one member.
            let instruction = unsafe { failure.__bindgen_anon_1.__bindgen_anon_1 };
            let given = internal.suberror == KVM_INTERNAL_ERROR_EMULATION
                && internal.ndata >= 3
                && failure.flags & u64::from(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0;
            let len = if given { usize::from(instruction.insn_size).min(15) } else { 0 };
            Exit::InternalError(InternalError {
                suberror: internal.suberror,
                bytes: InstructionBytes::new(&instruction.insn_bytes[..len]),
            })
        }
        KVM_EXIT_FAIL_ENTRY => {
            // SAFETY: the exit reason says that `fail_entry` is the field that KVM wrote.
            let fail = unsafe { run.__bindgen_anon_1.fail_entry };
            Exit::FailEntry { reason: fail.hardware_entry_failure_reason }
        }
        KVM_EXIT_SYSTEM_EVENT => {
            // SAFETY: the exit reason says that `system_event` is the field that KVM wrote.
            Exit::SystemEvent(unsafe { run.__bindgen_anon_1.system_event.type_ })
        }
        other => Exit::Unknown(other),
    })
}

fn parse_port(run: &mut kvm_run, shared_bytes: usize) -> Result<Exit<'_>, VmmError> {
    // SAFETY: the exit reason says that `io` is the field that KVM wrote.
    let io = unsafe { run.__bindgen_anon_1.io };
    let bytes = usize::from(io.size) * io.count as usize;
    let offset = io.data_offset as usize;
    if io.size == 0 || offset.checked_add(bytes).is_none_or(|end| end > shared_bytes) {
        return Err(VmmError::BadExit);
    }
    // SAFETY: `run` is the start of a mapping of `shared_bytes` bytes, and the data lies inside of it, as was
    // just checked. The slice borrows `run` mutably, so nothing else accesses the mapping while it lives, and
    // KVM writes there only while it runs the guest, which needs the same borrow.
    let data = unsafe {
        let start = std::ptr::from_mut(run).cast::<u8>().add(offset);
        std::slice::from_raw_parts_mut(start, bytes)
    };
    let (port, size) = (io.port, io.size);
    Ok(if u32::from(io.direction) == KVM_EXIT_IO_IN {
        Exit::PortIn { port, size, data }
    } else {
        Exit::PortOut { port, size, data }
    })
}

#[cfg(test)]
mod tests;
