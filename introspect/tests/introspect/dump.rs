//! Dumps as real programs write them, and damaged ones: cores made byte by byte.

use std::io::Read;

use abi::info::{INFO_MAGIC, Info, VERSION};
use abi::{Frame, GuestPhys};
use introspect::matrix::find_info;
use introspect::x86::dump::{Control, CoreWriter, Cpu, Dump, DumpError, Piece, Region, Remark, VmCoreInfo};
use introspect::x86::memory::PhysicalMemory;
use proptest::prelude::*;
use zerocopy::IntoBytes;

const LOAD: u32 = 1;
const NOTE: u32 = 4;

/// A program header; `bytes` is its content in the file.
#[derive(Clone, Debug)]
struct Header {
    kind: u32,
    at: u64,
    in_memory: u64,
    bytes: Vec<u8>,
    /// A file offset that replaces the offset of the bytes.
    offset: Option<u64>,
}

fn load(at: u64, bytes: &[u8]) -> Header {
    Header { kind: LOAD, at, in_memory: bytes.len() as u64, bytes: bytes.to_vec(), offset: None }
}

fn notes(notes: &[(&str, u32, &[u8])]) -> Header {
    let mut all = Vec::new();
    for (owner, kind, contents) in notes {
        for word in [owner.len() as u32 + 1, contents.len() as u32, *kind] {
            all.extend(word.to_le_bytes());
        }
        for part in [&[owner.as_bytes(), b"\0"].concat(), *contents] {
            all.extend(part);
            all.resize(all.len().next_multiple_of(4), 0);
        }
    }
    Header { kind: NOTE, at: 0, in_memory: 0, bytes: all, offset: None }
}

/// Builds a core with these headers. With `many`, section header 0 holds their number, as for more than
/// 65,534.
fn core(headers: &[Header], many: bool) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let section_at = 64 + 56 * headers.len() as u64;
    let count = if many { 0xffff } else { headers.len() as u16 };
    file.extend([4, 0, 62, 0, 1, 0, 0, 0]);
    for double in [0, 64, if many { section_at } else { 0 }] {
        file.extend(double.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64, 56, count, 64, u16::from(many), 0] {
        file.extend(half.to_le_bytes());
    }
    let mut at = section_at + if many { 64 } else { 0 };
    for header in headers {
        file.extend(header.kind.to_le_bytes());
        file.extend(7_u32.to_le_bytes());
        let offset = header.offset.unwrap_or(at);
        for double in [offset, 0, header.at, header.bytes.len() as u64, header.in_memory, 0] {
            file.extend(double.to_le_bytes());
        }
        at += header.bytes.len() as u64;
    }
    if many {
        let mut section = [0_u8; 64];
        section[44..48].copy_from_slice(&(headers.len() as u32).to_le_bytes());
        file.extend(section);
    }
    headers.iter().for_each(|header| file.extend(&header.bytes));
    file
}

fn bytes(dump: &Dump<Vec<u8>>, at: u64, len: usize) -> Option<Vec<u8>> {
    let mut into = vec![0xee; len];
    dump.read(GuestPhys(at), &mut into).ok().map(|()| into)
}

fn opened(headers: &[Header]) -> Dump<Vec<u8>> {
    Dump::core(core(headers, false)).unwrap()
}

#[test]
fn several_segments_and_the_holes_between_them() {
    let dump = opened(&[load(0x3000, &[3; 4096]), load(0, &[1; 4096]), load(0x4000, &[4; 10])]);
    assert_eq!(bytes(&dump, 0x3ffe, 4), Some(vec![3, 3, 4, 4]));
    assert_eq!(bytes(&dump, 0xfff, 1), Some(vec![1]));
    for outside in [0x1000, 0x2fff, 0x400a, u64::MAX] {
        assert_eq!(bytes(&dump, outside, 1), None, "{outside:#x}");
    }
    assert_eq!((bytes(&dump, 0xfff, 2), bytes(&dump, 0x2fff, 2)), (None, None));
    let frames: Vec<_> = (0..6).filter(|frame| dump.has_frame(Frame(*frame))).collect();
    assert_eq!((frames, dump.remarks()), (vec![0, 3], &[][..]));
    assert!(!dump.has_frame(Frame(1 << 52)) && !dump.has_frame(Frame(u64::MAX)));
    assert_eq!(dump.frames().collect::<Vec<_>>(), [Frame(0), Frame(3), Frame(4)]);
}

#[test]
fn a_frame_may_be_made_of_several_segments() {
    let dump = opened(&[load(0x800, &[2; 0x800]), load(0, &[1; 0x800])]);
    assert!(dump.has_frame(Frame(0)));
    let mut scratch = [0; 512];
    let table = dump.table(GuestPhys(0), &mut scratch).unwrap();
    assert_eq!((table[0], table[511]), (0x0101_0101_0101_0101, 0x0202_0202_0202_0202));
}

#[test]
fn what_is_not_in_the_file_reads_as_zeros_and_is_said() {
    let mut header = load(0x1000, &[9; 0x1000]);
    header.in_memory = 0x3800;
    let dump = opened(&[header]);
    assert_eq!(bytes(&dump, 0x1fff, 2), Some(vec![9, 0]));
    assert!(dump.has_frame(Frame(3)) && !dump.has_frame(Frame(4)));
    assert_eq!(dump.table(GuestPhys(0x2000), &mut [7; 512]), Ok(&[0; 512]));
    assert_eq!(dump.remarks(), [Remark::NotInFile(0x2800)]);
    // A search for pages skips memory that is not in the file.
    assert_eq!(dump.frames().collect::<Vec<_>>(), [Frame(1)]);
}

#[test]
fn a_kernel_that_is_listed_twice_is_no_overlap_and_another_contents_is() {
    // QEMU and kdump list the kernel's image twice, with the same file offset.
    let first = load(0, &[1; 0x2000]);
    let mut again = load(0x1000, &[]);
    (again.in_memory, again.offset) = (0x1000, Some(64 + 56 * 2 + 0x1000));
    // The size in the file is that of `bytes`, so overwrite it by hand.
    let mut file = core(&[first.clone(), again], false);
    file[64 + 56 + 32..][..8].copy_from_slice(&0x1000_u64.to_le_bytes());
    let dump = Dump::core(file).unwrap();
    assert_eq!((dump.remarks(), dump.pieces().len()), (&[][..], 1));

    let dump = opened(&[first, load(0x1000, &[2; 0x2000])]);
    assert_eq!(dump.remarks(), [Remark::Overlaps(1)]);
    assert_eq!((bytes(&dump, 0x1fff, 2), bytes(&dump, 0x2fff, 1)), (Some(vec![1, 2]), Some(vec![2])));
}

#[test]
fn the_number_of_segments_may_stand_in_a_section_header() {
    let dump = Dump::core(core(&[load(0, &[1; 16]), load(0x5000, &[5; 16])], true)).unwrap();
    assert_eq!(bytes(&dump, 0x500f, 1), Some(vec![5]));
    // Without that section header the count is unknown.
    let mut file = core(&[load(0, &[1; 16])], true);
    file[40..48].fill(0);
    assert!(matches!(Dump::core(file), Err(DumpError::Headers(_))));
    // A count that exceeds the file.
    let mut file = core(&[load(0, &[1; 16])], true);
    let section = 64 + 56;
    file[section + 44..][..4].fill(0xff);
    assert!(matches!(Dump::core(file), Err(DumpError::Headers(_))));
}

/// The first segment's contents are unaligned in the file: tables in it have to be copied.
#[test]
fn tables_are_the_same_wherever_they_lie_in_the_file() {
    let table: Vec<u8> = (0..4096_u64).map(|n| (n % 251) as u8).collect();
    for shift in 0..9 {
        let dump = opened(&[load(0x10_0000, &vec![1; shift]), load(0x1000, &table)]);
        let mut scratch = [0; 512];
        assert_eq!(dump.table(GuestPhys(0x1000), &mut scratch).unwrap().as_bytes(), table);
        assert!(dump.table(GuestPhys(0x1008), &mut [0; 512]).is_err());
    }
}

#[test]
fn what_is_no_dump_of_a_machine_is_refused_with_the_reason() {
    let good = core(&[load(0, &[1; 64])], false);
    let with = |at: usize, value: u8| {
        let mut file = good.clone();
        file[at] = value;
        Dump::core(file).unwrap_err().to_string()
    };
    for (error, part) in [
        (Dump::core(vec![]).unwrap_err().to_string(), "not an ELF"),
        (Dump::core(good[..40].to_vec()).unwrap_err().to_string(), "cut off"),
        (Dump::core(good[..100].to_vec()).unwrap_err().to_string(), "program headers"),
        (Dump::core(good[..good.len() - 1].to_vec()).unwrap_err().to_string(), "cut off: segment 0"),
        (with(4, 1), "32-bit"),
        (with(5, 2), "big-endian"),
        (with(4, 9), "damaged"),
        (with(16, 2), "type 2"),
        (with(18, 183), "another processor"),
        (with(54, 57), "program headers"),
        (Dump::core(core(&[], false)).unwrap_err().to_string(), "no memory"),
        (Dump::core(core(&[load(0, &[])], false)).unwrap_err().to_string(), "no memory"),
        (Dump::core(core(&[load(0, &[1]), load(0, &[2])], false)).unwrap_err().to_string(), "of a process"),
        (
            Dump::core(core(&[load((1 << 52) - 1, &[1, 2])], false)).unwrap_err().to_string(),
            "no x86-64 machine",
        ),
        (Dump::raw(vec![]).unwrap_err().to_string(), "empty"),
        (Dump::raw(b"KDUMP   \x06\0".to_vec()).unwrap_err().to_string(), "compressed kdump"),
        (Dump::raw(b"EMiL\x01\0\0\0".to_vec()).unwrap_err().to_string(), "LiME"),
    ] {
        assert!(error.contains(part), "{part:?} not in {error}");
    }
}

#[test]
fn files_that_are_none_are_refused() {
    let home = tempfile::tempdir().unwrap();
    assert!(matches!(Dump::open(&home.path().join("none")), Err(DumpError::Open(_))));
    assert!(matches!(Dump::open(home.path()), Err(DumpError::Open(_))));
    assert!(matches!(Dump::open("/dev/null".as_ref()), Err(DumpError::Open(_))));
    let empty = home.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(Dump::open(&empty), Err(DumpError::Empty)));
    std::fs::write(&empty, vec![7; 5000]).unwrap();
    let dump = Dump::open(&empty).unwrap();
    assert!(!dump.is_core() && dump.has_frame(Frame(0)) && !dump.has_frame(Frame(1)));
    assert_eq!((dump.root(), dump.cpus().len()), (None, 0));
}

fn cpu(cr3: u64) -> Cpu {
    let control = Some(Control { cr0: 1 << 31, cr3, ..Control::default() });
    Cpu { rip: cr3 + 1, control, ..Cpu::default() }
}

/// Builds notes as QEMU writes them: both notes of each CPU, and VMCOREINFO if the guest has one.
#[test]
fn notes_tell_where_to_begin() {
    let [one, two] = [cpu(0x1000), cpu(0x2000)];
    let status = [one.to_prstatus(1), two.to_prstatus(2)];
    let qemu = [one.to_qemu(), two.to_qemu()];
    let mut all = vec![
        ("CORE", 1, &status[0][..]),
        ("CORE", 1, &status[1][..]),
        ("QEMU", 0, &qemu[0][..]),
        ("QEMU", 0, &qemu[1][..]),
        ("SOMEONE", 7, b"else".as_slice()),
    ];
    let dump = opened(&[notes(&all), load(0, &[0; 64])]);
    assert_eq!(dump.cpus(), [one, two]);
    assert_eq!(dump.root(), Some(GuestPhys(0x1000)));

    all.push(("VMCOREINFO", 0, b"SYMBOL(init_top_pgt)=ffffffff80003000\nNUMBER(phys_base)=4096\n"));
    let dump = opened(&[notes(&all), load(0, &[0; 64])]);
    assert_eq!(dump.root(), Some(GuestPhys(0x4000)));

    // Linux's note alone has no control registers, and so no root.
    let dump = opened(&[notes(&all[..2]), load(0, &[0; 64])]);
    assert_eq!((dump.cpus().len(), dump.cpus()[1].rip, dump.root()), (2, 0x2001, None));
}

#[test]
fn damaged_notes_harm_nobody_but_themselves() {
    let status = cpu(0x1000).to_prstatus(1);
    let mut header = notes(&[("CORE", 1, &status), ("QEMU", 0, b"short"), ("CORE", 1, &status)]);
    header.bytes.extend([0xff; 20]);
    let dump = opened(&[header, load(0, &[1; 64])]);
    assert_eq!((dump.cpus().len(), dump.remarks()), (2, &[Remark::BadNotes(2)][..]));
}

#[test]
fn what_the_writer_writes_the_reader_reads() {
    let mut memory: Vec<u8> = (0..0x20_0000_u32).map(|n| (n % 253) as u8).collect();
    memory[0x4000..0x8000].fill(0);
    let regions = [(0, 0x10_0000), (0x18_0000, 0x8_0000)].map(|(start, bytes)| Region {
        start: GuestPhys(start),
        bytes,
        virt: start,
    });
    let vmcoreinfo = VmCoreInfo::describe("unknown", GuestPhys(0x3000), GuestPhys(0x5000), false);
    let writer = CoreWriter { regions: &regions, cpus: &[cpu(0x5000), cpu(0x6000)], vmcoreinfo: &vmcoreinfo };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writer.write(&memory, file.as_file_mut()).unwrap();

    let dump = Dump::open(file.path()).unwrap();
    assert_eq!((dump.cpus(), dump.vmcoreinfo()), (writer.cpus, &vmcoreinfo));
    assert_eq!(dump.root(), Some(GuestPhys(0x3000)));
    let place = |piece: &Piece| (piece.start, piece.end);
    assert_eq!(dump.pieces().iter().map(place).collect::<Vec<_>>(), [(0, 0x10_0000), (0x18_0000, 0x20_0000)]);
    for region in regions {
        let mut back = vec![0; region.bytes as usize];
        dump.read(region.start, &mut back).unwrap();
        assert!(back == memory[region.start.0 as usize..][..back.len()]);
    }
    // A region that is not memory is refused, and so are too many regions.
    let outside = [Region { start: GuestPhys(0x20_0000), bytes: 4096, virt: 0 }];
    let mut none = tempfile::tempfile().unwrap();
    assert!(CoreWriter { regions: &outside, ..writer }.write(&memory, &mut none).is_err());
    let many = vec![Region { start: GuestPhys(0), bytes: 0, virt: 0 }; 0xffff];
    assert!(CoreWriter { regions: &many, ..writer }.write(&memory, &mut none).is_err());
    let mut nothing = Vec::new();
    none.read_to_end(&mut nothing).unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn the_info_block_is_found_by_the_note_or_in_memory() {
    let mut memory = vec![0_u8; 0x8000];
    let info = Info { magic: INFO_MAGIC, version: VERSION, ..Info::default() };
    // An unreadable info block, one that does not begin a page, and the right one.
    memory[0x2000..0x2008].copy_from_slice(&INFO_MAGIC.to_le_bytes());
    memory[0x3008..][..size_of::<Info>()].copy_from_slice(info.as_bytes());
    memory[0x5000..][..size_of::<Info>()].copy_from_slice(info.as_bytes());
    assert_eq!(find_info(&Dump::raw(memory.clone()).unwrap()), Some(GuestPhys(0x5000)));
    let dump = opened(&[load(0x10_0000, &memory)]);
    assert_eq!(find_info(&dump), Some(GuestPhys(0x10_5000)));
    let note = notes(&[("VMCOREINFO", 0, b"MATRIX_INFO=0x107000\n")]);
    assert_eq!(find_info(&opened(&[note, load(0x10_0000, &memory)])), Some(GuestPhys(0x10_7000)));
    memory[0x5000] = 0;
    assert_eq!(find_info(&Dump::raw(memory).unwrap()), None);
}

prop_compose! {
    fn any_header()(
        kind in prop_oneof![3 => Just(LOAD), 1 => Just(NOTE), 1 => any::<u32>()],
        at in prop_oneof![0_u64..0x4000, any::<u64>()],
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        in_memory in prop_oneof![0_u64..0x2000, any::<u64>()],
        offset in prop::option::of(prop_oneof![0_u64..500, any::<u64>()]),
    ) -> Header {
        Header { kind, at, in_memory, bytes, offset }
    }
}

proptest! {
    /// Opening and reading end for any headers, and all ways of reading agree.
    #[test]
    fn no_core_is_too_strange(
        headers in prop::collection::vec(any_header(), 0..6),
        many in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
        at in prop_oneof![0_u64..0x6000, any::<u64>()],
    ) {
        let mut file = core(&headers, many);
        for (index, value) in flips {
            *index.get_mut(&mut file) = value;
        }
        if !whole {
            file.truncate(cut.index(file.len()));
        }
        let Ok(dump) = Dump::core(file) else { return Ok(()) };
        let mut plain = [0; 512];
        let mut scratch = [0; 512];
        let read = dump.read_table(GuestPhys(at), &mut plain).map(|()| plain);
        prop_assert_eq!(dump.table(GuestPhys(at), &mut scratch).copied(), read);
        let frame = GuestPhys(at).frame();
        let mut page = [0; 4096];
        prop_assert_eq!(dump.has_frame(frame), dump.read(frame.base(), &mut page).is_ok());
        let _ = (dump.root(), dump.five_levels(), dump.cpus().len(), find_info(&dump));
    }
}
