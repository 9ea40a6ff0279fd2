//! Images, right and wrong: a small ELF file with bytes changed.

use std::borrow::Cow;

use abi::GuestPhys;
use introspect::x86::memory::PhysicalMemory;
use proptest::prelude::*;

use super::*;
use crate::host::memory::GuestMemory;
use crate::machine::tiny_elf;

/// A kernel that halts, with room for the patches of these tests.
fn kernel() -> Vec<u8> {
    tiny_elf::elf(&[0xf4; 22])
}

// Offsets in the file.
const E_PHOFF: usize = 32;
const E_PHENTSIZE: usize = 54;
const E_PHNUM: usize = 56;
const LOAD: usize = 64;
const NOTE: usize = LOAD + 56;
const P_TYPE: usize = 0;
const P_OFFSET: usize = 8;
const P_PADDR: usize = 24;
const P_FILESZ: usize = 32;
const P_MEMSZ: usize = 40;
const DESC: usize = NOTE + 56 + 16;

fn image(bytes: Vec<u8>) -> Result<Image, ImageError> {
    Image::check(Blob { name: "test".into(), bytes: bytes.into() })
}

/// The kernel with these 8-byte values in place of its own.
fn patched(patches: &[(usize, u64)]) -> Result<Image, ImageError> {
    let mut bytes = kernel();
    for (at, value) in patches {
        bytes[*at..*at + 8].copy_from_slice(&value.to_le_bytes());
    }
    image(bytes)
}

fn problem(image: Result<Image, ImageError>) -> Problem {
    let error = image.map(|image| image.segments().to_vec()).unwrap_err();
    let report = error.report();
    assert!(!report.what.is_empty() && report.place == "test" && !report.remedy.is_empty());
    error.problem
}

#[test]
fn a_good_image_is_loaded_with_all_that_it_is_started_with() {
    let image = patched(&[]).unwrap();
    let memory = GuestMemory::new(4).unwrap();
    let module = Blob { name: "module".into(), bytes: Cow::Borrowed(b"programs") };
    let start = image.load(&memory, "seed=6", Some(&module)).unwrap();
    assert_eq!(start.entry, image.entry());

    let bytes = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        memory.read(GuestPhys(at), &mut bytes).unwrap();
        bytes
    };
    let word = |at: u64| memory.read_u64(GuestPhys(at)).unwrap();
    assert_eq!(bytes(0x10_0000, image.bytes().len()), image.bytes());
    let info = start.start_info.0;
    // Magic and version; flags and modules; then addresses of modules, command line, ACPI tables, memory map.
    assert_eq!((word(info), word(info + 8)), (1 << 32 | 0x336e_c578, 1 << 32));
    assert_eq!(bytes(word(info + 24), 7), b"seed=6\0");
    assert_eq!(word(info + 32), 0);
    let list = word(info + 16);
    assert_eq!((word(list), word(list + 8)), ((4 << 20) - 4096, 8));
    assert_eq!(bytes(word(list), 9), b"programs\0");
    let map = word(info + 40);
    assert_eq!(word(info + 48), 3);
    assert_eq!((word(map), word(map + 8), word(map + 16)), (0, 0x9_fc00, 1));
    assert_eq!((word(map + 48), word(map + 56), word(map + 64)), (0x10_0000, 3 << 20, 1));
}

#[test]
fn an_image_can_be_loaded_again_and_again() {
    let image = patched(&[]).unwrap();
    for memory_mib in [2, 3, 64] {
        let memory = GuestMemory::new(memory_mib).unwrap();
        image.load(&memory, "", None).unwrap();
    }
}

#[test]
fn what_has_no_bytes_in_the_file_needs_none() {
    // A segment of zeros only, whose file offset means nothing.
    let zeros = patched(&[(LOAD + P_FILESZ, 0), (LOAD + P_OFFSET, 1 << 40)]);
    // No code is loaded at the entry then.
    assert!(matches!(problem(zeros), Problem::EntryOutside(_)));
    let image = patched(&[(LOAD + P_MEMSZ, 1 << 20)]).unwrap();
    image.load(&GuestMemory::new(2).unwrap(), "", None).unwrap();
}

#[test]
fn headers_that_lie() {
    let eight = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let good = kernel();
    let tail = eight(&good, E_PHENTSIZE) & !0xffff_ffff;
    assert!(matches!(problem(patched(&[(E_PHOFF, 8)])), Problem::BadHeader(_)));
    assert!(matches!(problem(patched(&[(E_PHOFF, u64::MAX)])), Problem::Truncated { .. }));
    assert!(matches!(problem(patched(&[(E_PHENTSIZE, tail | 2 << 16 | 32)])), Problem::BadHeader(_)));
    assert!(matches!(problem(patched(&[(E_PHENTSIZE, tail | 56)])), Problem::NoSegments));
    assert!(matches!(problem(patched(&[(E_PHNUM, 0xffff)])), Problem::BadHeader(_)));
    assert!(matches!(problem(patched(&[(LOAD + P_OFFSET, u64::MAX)])), Problem::Truncated { .. }));
    assert!(matches!(problem(patched(&[(LOAD + P_FILESZ, u64::MAX)])), Problem::Truncated { .. }));
    assert!(matches!(problem(patched(&[(NOTE + P_FILESZ, 1 << 60)])), Problem::Truncated { .. }));
    assert!(matches!(problem(patched(&[(LOAD + P_MEMSZ, 1)])), Problem::BadHeader(_)));
    assert!(matches!(problem(patched(&[(LOAD + P_MEMSZ, u64::MAX)])), Problem::BadHeader(_)));
    assert!(matches!(problem(patched(&[(LOAD + P_TYPE, 6)])), Problem::NoSegments));
    assert!(matches!(problem(patched(&[(NOTE + P_TYPE, 6)])), Problem::NoPvhNote));
    // Two segments in one place.
    assert!(matches!(problem(patched(&[(NOTE + P_TYPE, 1)])), Problem::Overlap { first: 0, second: 1, .. }));
}

#[test]
fn places_where_no_kernel_can_be() {
    for at in [0, 0xfff, 0x6000, 0xbfff, 0x9_fbff, 0xf_ffff, 3 << 30, (4 << 30) - 1, 1 << 50] {
        assert!(matches!(problem(patched(&[(LOAD + P_PADDR, at)])), Problem::Misplaced { .. }), "{at:#x}");
    }
    // Elsewhere it may be, but the entry point must go with it.
    for at in [0x1000, 0xc000, 0x9_f000, 1 << 30, 4 << 30] {
        assert!(matches!(problem(patched(&[(LOAD + P_PADDR, at)])), Problem::EntryOutside(_)), "{at:#x}");
    }
}

#[test]
fn notes_that_lie() {
    let entry = |value: u64| patched(&[(DESC, value)]);
    // Behind the entry comes the code: keep it.
    let code = u64::from_le_bytes(kernel()[DESC..DESC + 8].try_into().unwrap()) & !0xffff_ffff;
    assert!(matches!(problem(entry(code | 0x1234)), Problem::EntryOutside(0x1234)));
    let mut bytes = kernel();
    bytes[DESC - 12] = 2; // an entry of two bytes
    assert!(matches!(problem(image(bytes)), Problem::BadPvhNote(_)));
    let mut bytes = kernel();
    bytes[DESC - 16] = 200; // a name that leaves the note
    assert!(matches!(problem(image(bytes)), Problem::BadPvhNote(_)));
    let mut bytes = kernel();
    bytes[DESC - 4] = b'Y'; // somebody else's note
    assert!(matches!(problem(image(bytes)), Problem::NoPvhNote));
}

#[test]
fn too_little_memory_names_the_amount_that_would_do() {
    let large = patched(&[(LOAD + P_MEMSZ, 40 << 20)]).unwrap();
    let Problem::MemoryTooSmall { needed_mib, .. } = large.fits(16, "", None).unwrap_err().problem else {
        panic!()
    };
    assert!(large.fits(needed_mib as u32, "", None).is_ok());
    assert!(large.fits(needed_mib as u32 - 1, "", None).is_err());

    let small = patched(&[]).unwrap();
    let module = Blob { name: "module".into(), bytes: vec![1; (3 << 20) + 5].into() };
    let Problem::ModuleTooLarge { needed_mib: Some(needed_mib), .. } =
        small.fits(4, "", Some(&module)).unwrap_err().problem
    else {
        panic!()
    };
    assert!(small.fits(needed_mib as u32, "", Some(&module)).is_ok());
    assert!(small.fits(needed_mib as u32 - 1, "", Some(&module)).is_err());
}

proptest! {
    #[test]
    fn no_change_to_an_image_can_panic(
        changes in proptest::collection::vec((0..220_usize, any::<u8>()), 0..6),
        cut in proptest::option::of(0..220_usize),
    ) {
        let mut bytes = kernel();
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        if let Ok(image) = image(bytes) {
            let memory = GuestMemory::new(4).unwrap();
            if image.load(&memory, "", None).is_ok() {
                prop_assert!(image.segments().iter().all(|segment| segment.end <= 4 << 20));
            }
        }
    }

    #[test]
    fn no_bytes_can_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.extend(&bytes);
        let _ = image(elf);
        let _ = image(bytes);
    }
}
