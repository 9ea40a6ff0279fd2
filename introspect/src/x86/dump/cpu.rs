//! The registers of a virtual CPU, in the notes of a core file.
//!
//! | Note | Holds | Source of the layout |
//! |---|---|---|
//! | `CORE`, `NT_PRSTATUS` | general registers, selectors, FS and GS bases | Linux, see below |
//! | `QEMU`, type 0 | the same, and the control registers, which locate the page tables | QEMU, see below |
//!
//! Sources: Linux `include/uapi/linux/elfcore.h` and `arch/x86/include/asm/user_64.h`; QEMU
//! `target/i386/arch_dump.c`, `struct QEMUCPUState`, version 1.
//!
//! This file both writes and reads them, so the two sides cannot diverge.

use address::GuestPhys;

use crate::x86::paging::bits;

/// Size of `struct elf_prstatus`.
const PRSTATUS_BYTES: usize = 336;
/// Offset of the registers in it.
const PRSTATUS_REGISTERS: usize = 112;
/// Offset of the process id in it.
const PRSTATUS_PID: usize = 32;
/// Size of `QEMUCPUState`.
const QEMU_BYTES: usize = 440;
/// Offset of RAX in it; 15 more registers, RIP and RFLAGS follow.
const QEMU_GENERAL: usize = 8;
/// Offset of the first segment register in it.
const QEMU_SEGMENTS: usize = 152;
/// Offset of CR0 in it; CR1 to CR4 follow.
const QEMU_CONTROL: usize = 392;
/// CR4.LA57: page tables have five levels.
const CR4_LA57: u64 = 1 << 12;

/// Control registers. (CR1 does not exist.)
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Control {
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
}

/// A segment register or a descriptor table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Segment {
    pub selector: u16,
    pub limit: u32,
    /// The second double word of the descriptor, as QEMU stores it.
    pub flags: u32,
    pub base: u64,
}

/// A virtual CPU at the time of the dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Cpu {
    /// RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP, R8 to R15.
    pub general: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    /// CS, DS, ES, FS, GS, SS, LDT, TR, GDT, IDT. A dump without QEMU's note has only the selectors, and the
    /// bases of FS and GS.
    pub segments: [Segment; 10],
    /// Present only in dumps with QEMU's note.
    pub control: Option<Control>,
}

/// Indices into [`Cpu::general`].
mod general {
    pub(super) const RAX: usize = 0;
    pub(super) const RBX: usize = 1;
    pub(super) const RCX: usize = 2;
    pub(super) const RDX: usize = 3;
    pub(super) const RSI: usize = 4;
    pub(super) const RDI: usize = 5;
    pub(super) const RSP: usize = 6;
    pub(super) const RBP: usize = 7;
    pub(super) const R8: usize = 8;
}

/// Indices into [`Cpu::segments`].
mod segment {
    pub(super) const CS: usize = 0;
    pub(super) const DS: usize = 1;
    pub(super) const ES: usize = 2;
    pub(super) const FS: usize = 3;
    pub(super) const GS: usize = 4;
    pub(super) const SS: usize = 5;
}

/// The general registers in the order of `struct user_regs_struct`, without R15 down to R8, whose offsets are
/// computed.
const PRSTATUS_ORDER: [(usize, usize); 8] = [
    (4, general::RBP),
    (5, general::RBX),
    (10, general::RAX),
    (11, general::RCX),
    (12, general::RDX),
    (13, general::RSI),
    (14, general::RDI),
    (19, general::RSP),
];
/// R15 to R12 and R11 to R8 in the same order.
const PRSTATUS_HIGH: [(usize, usize); 8] = [
    (0, general::R8 + 7),
    (1, general::R8 + 6),
    (2, general::R8 + 5),
    (3, general::R8 + 4),
    (6, general::R8 + 3),
    (7, general::R8 + 2),
    (8, general::R8 + 1),
    (9, general::R8),
];
/// Selectors in the same order.
const PRSTATUS_SELECTORS: [(usize, usize); 6] = [
    (17, segment::CS),
    (20, segment::SS),
    (23, segment::DS),
    (24, segment::ES),
    (25, segment::FS),
    (26, segment::GS),
];

impl Cpu {
    /// The stack pointer.
    pub const fn rsp(&self) -> u64 {
        self.general[general::RSP]
    }

    /// Returns the ring that it runs in: the low bits of CS.
    pub const fn ring(&self) -> u8 {
        (self.segments[segment::CS].selector & 3) as u8
    }

    /// Returns the root of the page tables in use; `None` if the dump does not say, or paging is off.
    pub fn root(&self) -> Option<GuestPhys> {
        const PAGING: u64 = 1 << 31;
        let control = self.control.filter(|control| control.cr0 & PAGING != 0)?;
        Some(GuestPhys(control.cr3 & bits::ADDRESS))
    }

    /// Returns whether its page tables have five levels.
    pub fn five_levels(&self) -> bool {
        self.control.is_some_and(|control| control.cr4 & CR4_LA57 != 0)
    }

    /// Encodes the note `NT_PRSTATUS`. `number` counts the CPUs from 1; debuggers show it as a thread id.
    pub fn to_prstatus(&self, number: u32) -> [u8; PRSTATUS_BYTES] {
        let mut note = [0; PRSTATUS_BYTES];
        note[PRSTATUS_PID..][..4].copy_from_slice(&number.to_le_bytes());
        let mut put = |nth: usize, value: u64| {
            note[PRSTATUS_REGISTERS + 8 * nth..][..8].copy_from_slice(&value.to_le_bytes());
        };
        for (nth, register) in PRSTATUS_ORDER.into_iter().chain(PRSTATUS_HIGH) {
            put(nth, self.general[register]);
        }
        for (nth, segment) in PRSTATUS_SELECTORS {
            put(nth, self.segments[segment].selector.into());
        }
        put(15, u64::MAX); // no system call to restart
        put(16, self.rip);
        put(18, self.rflags);
        put(21, self.segments[segment::FS].base);
        put(22, self.segments[segment::GS].base);
        note
    }

    /// Decodes the note `NT_PRSTATUS`; `None` if it is too short.
    pub fn from_prstatus(note: &[u8]) -> Option<Self> {
        let note = note.get(..PRSTATUS_BYTES)?;
        let get = |nth: usize| number(note, PRSTATUS_REGISTERS + 8 * nth);
        let mut cpu = Self { rip: get(16), rflags: get(18), ..Self::default() };
        for (nth, register) in PRSTATUS_ORDER.into_iter().chain(PRSTATUS_HIGH) {
            cpu.general[register] = get(nth);
        }
        for (nth, segment) in PRSTATUS_SELECTORS {
            cpu.segments[segment].selector = get(nth) as u16;
        }
        cpu.segments[segment::FS].base = get(21);
        cpu.segments[segment::GS].base = get(22);
        Some(cpu)
    }

    /// Encodes QEMU's note.
    pub fn to_qemu(&self) -> [u8; QEMU_BYTES] {
        let mut note = [0; QEMU_BYTES];
        note[..4].copy_from_slice(&1_u32.to_le_bytes());
        note[4..8].copy_from_slice(&(QEMU_BYTES as u32).to_le_bytes());
        let mut put = |at: usize, value: u64| note[at..at + 8].copy_from_slice(&value.to_le_bytes());
        for (nth, value) in self.general.into_iter().chain([self.rip, self.rflags]).enumerate() {
            put(QEMU_GENERAL + 8 * nth, value);
        }
        for (nth, segment) in self.segments.iter().enumerate() {
            let at = QEMU_SEGMENTS + 24 * nth;
            put(at, u64::from(segment.limit) << 32 | u64::from(segment.selector));
            put(at + 8, segment.flags.into());
            put(at + 16, segment.base);
        }
        let Control { cr0, cr2, cr3, cr4 } = self.control.unwrap_or_default();
        for (nth, value) in [cr0, 0, cr2, cr3, cr4].into_iter().enumerate() {
            put(QEMU_CONTROL + 8 * nth, value);
        }
        note
    }

    /// Decodes QEMU's note; `None` if it is too short or of another version.
    pub fn from_qemu(note: &[u8]) -> Option<Self> {
        // Older versions end before the last field.
        let note = note.get(..QEMU_BYTES - 8)?;
        if number(note, 0) as u32 != 1 {
            return None;
        }
        let mut cpu = Self::default();
        for (nth, register) in cpu.general.iter_mut().chain([&mut cpu.rip, &mut cpu.rflags]).enumerate() {
            *register = number(note, QEMU_GENERAL + 8 * nth);
        }
        for (nth, segment) in cpu.segments.iter_mut().enumerate() {
            let at = QEMU_SEGMENTS + 24 * nth;
            let word = number(note, at);
            *segment = Segment {
                selector: word as u16,
                limit: (word >> 32) as u32,
                flags: number(note, at + 8) as u32,
                base: number(note, at + 16),
            };
        }
        let control = |nth: usize| number(note, QEMU_CONTROL + 8 * nth);
        cpu.control = Some(Control { cr0: control(0), cr2: control(2), cr3: control(3), cr4: control(4) });
        Some(cpu)
    }
}

/// Returns the eight bytes at `at`, which the caller has checked; zero if they are missing.
fn number(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu() -> Cpu {
        let mut cpu = Cpu { rip: 0x100, rflags: 0x202, ..Cpu::default() };
        for (nth, register) in cpu.general.iter_mut().enumerate() {
            *register = 0x1000 + nth as u64;
        }
        for (nth, segment) in (0..).zip(cpu.segments.iter_mut()) {
            *segment = Segment { selector: 8 * nth, limit: 0xffff_ffff, flags: 0xa0_9b00, base: 0x9000 };
        }
        cpu.segments[segment::CS].selector = 0x33;
        cpu.control = Some(Control { cr0: 0x8000_0011, cr2: 0x7fff, cr3: 0x5018, cr4: 0x1020 });
        cpu
    }

    #[test]
    fn registers_survive_qemus_note() {
        assert_eq!(Cpu::from_qemu(&cpu().to_qemu()), Some(cpu()));
        assert_eq!((cpu().root(), cpu().ring()), (Some(GuestPhys(0x5000)), 3));
        assert!(cpu().five_levels());
    }

    #[test]
    fn general_registers_survive_the_status_note_which_has_no_control_registers() {
        let back = Cpu::from_prstatus(&cpu().to_prstatus(1)).unwrap();
        assert_eq!((back.general, back.rip, back.rflags), (cpu().general, 0x100, 0x202));
        assert_eq!((back.ring(), back.segments[segment::GS].base), (3, 0x9000));
        assert_eq!((back.control, back.root(), back.five_levels()), (None, None, false));
    }

    /// The offsets are written out by hand from the two sources: a round trip would not detect a table that
    /// is wrong in both directions.
    #[test]
    fn registers_stand_where_linux_and_qemu_have_them() {
        let (status, qemu) = (cpu().to_prstatus(7), cpu().to_qemu());
        assert_eq!(status[32], 7);
        assert_eq!(number(&status, 112), 0x1000 + 15); // r15
        assert_eq!(number(&status, 112 + 13 * 8), 0x1000 + 4); // rsi
        assert_eq!(number(&status, 112 + 19 * 8), 0x1000 + 6); // rsp
        assert_eq!(number(&qemu, 8), 0x1000); // rax
        assert_eq!(number(&qemu, 136), 0x100); // rip
        assert_eq!(number(&qemu, 416), 0x5018); // cr3
    }

    #[test]
    fn short_notes_and_other_versions_are_no_registers() {
        assert_eq!(Cpu::from_prstatus(&[0; PRSTATUS_BYTES - 1]), None);
        assert_eq!(Cpu::from_qemu(&[1; 100]), None);
        assert_eq!(Cpu::from_qemu(&[0; QEMU_BYTES]), None);
    }

    #[test]
    fn a_processor_without_paging_has_no_root() {
        let mut cpu = cpu();
        cpu.control = Some(Control { cr0: 0x11, ..cpu.control.unwrap() });
        assert_eq!(cpu.root(), None);
    }
}
