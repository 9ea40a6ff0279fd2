//! Exits: why the processor of the guest stopped.
//!
//! The raw exit is parsed once, in [`crate::host::kvm`]; all other code uses [`Exit`]. An exit is an argument
//! of its handler, so tests can pass any exit. Answers to reads are written into the slice that the exit
//! carries: for a real exit this is the page that KVM shares with the VMM.

use abi::GuestPhys;

/// Why the vCPU stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit<'a> {
    /// `out`, or a piece of `rep outs`: `data` holds one or more elements of `size` bytes.
    PortOut {
        /// The port.
        port: u16,
        /// Bytes in one element: 1, 2 or 4.
        size: u8,
        /// The elements, one after another.
        data: &'a [u8],
    },
    /// `in`, or a piece of `rep ins`: `data` wants one or more elements of `size` bytes.
    PortIn {
        /// The port.
        port: u16,
        /// Bytes in one element: 1, 2 or 4.
        size: u8,
        /// Where the answer goes.
        data: &'a mut [u8],
    },
    /// A write to an address that no memory slot backs.
    MmioWrite {
        /// The address.
        at: GuestPhys,
        /// The bytes, 8 at most.
        data: &'a [u8],
    },
    /// A read from an address that no memory slot backs.
    MmioRead {
        /// The address.
        at: GuestPhys,
        /// Where the answer goes, 8 bytes at most.
        data: &'a mut [u8],
    },
    /// `hlt`, on hosts that hand it out.
    Halt,
    /// Triple fault.
    Shutdown,
    /// KVM could not continue: mostly an instruction that it cannot emulate.
    InternalError(InternalError),
    /// The processor refused to enter the guest.
    FailEntry {
        /// The hardware's reason.
        reason: u64,
    },
    /// KVM reports a system event.
    SystemEvent(u32),
    /// A signal, or `immediate_exit`: nothing happened in the guest.
    Interrupted,
    /// An unexpected exit, by its number in `linux/kvm.h`.
    Unknown(u32),
}

/// KVM's description of an internal error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InternalError {
    /// `KVM_INTERNAL_ERROR_*`; 1 is an instruction that it cannot emulate.
    pub suberror: u32,
    /// The bytes of the instruction, as far as KVM gave them.
    pub bytes: InstructionBytes,
}

/// Up to 15 bytes of one instruction.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct InstructionBytes {
    bytes: [u8; 15],
    len: u8,
}

impl InstructionBytes {
    /// Keeps the first 15 of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut kept = Self::default();
        let len = bytes.len().min(kept.bytes.len());
        kept.bytes[..len].copy_from_slice(&bytes[..len]);
        kept.len = len as u8;
        kept
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// In hexadecimal, the way a disassembler takes them.
impl std::fmt::Display for InstructionBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.len == 0 {
            return f.write_str("unknown");
        }
        for (n, byte) in self.as_slice().iter().enumerate() {
            write!(f, "{}{byte:02x}", if n == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for InstructionBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruction_bytes_are_cut_at_fifteen_and_shown_in_hexadecimal() {
        assert_eq!(InstructionBytes::new(&[0x0f, 0x0b]).to_string(), "0f 0b");
        assert_eq!(InstructionBytes::new(&[7; 40]).as_slice().len(), 15);
        assert_eq!(InstructionBytes::default().to_string(), "unknown");
    }
}
