//! The reader of core files: a core that opens is readable at every address that it claims, by every method,
//! and returns what the file's segments say.

use abi::{Frame, GuestPhys};
use introspect::matrix::find_info;
use introspect::x86::dump::Piece;
use introspect::x86::{Budget, Dump, Half, PhysicalMemory};

use crate::input::Input;
use crate::memory::{FRAMES, paging, tables};

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const MOST_SEGMENTS: usize = 6;
/// The notes and the memory have fixed places in the file, so that segments hit them often.
const NOTES: usize = 1024;
const MEMORY: usize = 4096;
/// Largest width of a physical address.
const END: u64 = 1 << 52;

/// One program header.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    offset: u64,
    at: u64,
    in_file: u64,
    in_memory: u64,
}

/// Opens the bytes as they are, or a core with segments, notes and memory made from them.
pub fn core(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte().is_multiple_of(8) {
        let rest = data.get(1..).unwrap_or_default();
        if let Ok(dump) = Dump::core(rest) {
            check(&dump, rest, &mut Input::new(data));
        }
        if let Ok(dump) = Dump::raw(rest) {
            check(&dump, rest, &mut Input::new(data));
        }
        return;
    }
    let count = input.below(MOST_SEGMENTS + 1);
    let segments: Vec<_> = (0..count).map(|_| segment(&mut input)).collect();
    let mut asked = Input::new(data);
    let file = file(&segments, &mut input);
    if let Ok(dump) = Dump::core(&file[..]) {
        check(&dump, &file, &mut asked);
        for piece in dump.pieces() {
            for at in [piece.start, piece.end - 1, piece.start.wrapping_sub(1), piece.end] {
                check_against(&segments, &dump, &file, at);
            }
        }
        for segment in &segments {
            for at in [segment.at, segment.at.wrapping_add(segment.in_file), segment.at.wrapping_sub(1)] {
                check_against(&segments, &dump, &file, at);
            }
        }
    }
}

fn segment(input: &mut Input<'_>) -> Segment {
    let kind = input.one_of(&[1, 1, 1, 1, 1, 4, 4, 0]);
    let fine = u64::from(input.byte());
    let (coarse, size, more) = (input.byte(), input.byte(), input.byte());
    let at = match coarse {
        // Mostly close together, so that they overlap; some at the ends of the address space.
        0..224 => u64::from(coarse) << 9,
        224..240 => END - (u64::from(coarse) << 8),
        _ => u64::MAX - (u64::from(coarse) << 8),
    };
    let offset = match more {
        0..200 => MEMORY as u64 + (u64::from(more) << 7),
        200..230 => NOTES as u64 + u64::from(more - 200),
        _ => u64::from(more) << (more % 57),
    };
    let in_file = if size < 240 { u64::from(size) << 7 } else { 1 << (size % 64) };
    // Sometimes unaligned; with more or fewer bytes in memory than in the file.
    let odd = if fine >= 192 { fine } else { 0 };
    let in_memory = match fine % 4 {
        0 | 1 => in_file,
        2 => in_file.saturating_add(fine << 6),
        _ => in_file.saturating_sub(fine),
    };
    Segment { kind, offset, at: at.wrapping_add(odd), in_file, in_memory }
}

fn file(segments: &[Segment], input: &mut Input<'_>) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    let mut put = |at: usize, bytes: &[u8]| {
        file.resize(file.len().max(at + bytes.len()), 0);
        file[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(16, &[4, 0, 62, 0, 1]);
    put(32, &(HEADER as u64).to_le_bytes());
    put(52, &[HEADER as u8, 0, PROGRAM_HEADER as u8, 0, segments.len() as u8]);
    for (nth, segment) in segments.iter().enumerate() {
        let at = HEADER + nth * PROGRAM_HEADER;
        put(at, &segment.kind.to_le_bytes());
        let numbers = [segment.offset, 0, segment.at, segment.in_file, segment.in_memory, 4];
        for (nth, number) in numbers.into_iter().enumerate() {
            put(at + 8 + nth * 8, &number.to_le_bytes());
        }
    }
    let mut at = NOTES;
    for _ in 0..input.below(4) {
        let (name, contents): (&[u8], Vec<u8>) = match input.below(3) {
            0 => (b"CORE\0\0\0\0", (0..336).map(|_| input.byte() & 1).collect()),
            1 => {
                (b"QEMU\0\0\0\0", (0..440).map(|nth| if nth % 16 == 3 { input.byte() } else { 0 }).collect())
            }
            _ => (b"VMCOREINFO\0\0", text(input)),
        };
        let kind = input.one_of(&[0, 1]);
        let name_len = if name[4] == 0 { 5 } else { 11 };
        let mut note = [name_len, contents.len() as u32 ^ u32::from(input.byte() / 240), kind]
            .map(u32::to_le_bytes)
            .concat();
        note.extend(name);
        note.extend(&contents);
        note.resize(note.len().next_multiple_of(4), 0);
        if at + note.len() <= MEMORY {
            put(at, &note);
            at += note.len();
        }
    }
    put(MEMORY - 1, &[0]);
    put(MEMORY, &tables(input));
    file
}

/// Generates lines like those of the note VMCOREINFO.
fn text(input: &mut Input<'_>) -> Vec<u8> {
    const WORDS: [&str; 10] = [
        "CR3=",
        "0x1000",
        "\n",
        "SYMBOL(swapper_pg_dir)=",
        "NUMBER(phys_base)=",
        "KERNELOFFSET=",
        "ffffffff80001000",
        "NUMBER(pgtable_l5_enabled)=1\n",
        "MATRIX_INFO=",
        "-1",
    ];
    (0..input.below(20)).flat_map(|_| input.one_of(&WORDS).bytes()).collect()
}

/// Returns what one segment alone has at an address: a byte of the file, or a zero that is not in the file.
fn says(segment: &Segment, file: &[u8], at: u64) -> Option<(bool, u8)> {
    let within = at.checked_sub(segment.at).filter(|within| *within < segment.in_memory)?;
    if segment.kind != 1 || segment.at == u64::MAX {
        return None;
    }
    if within >= segment.in_file {
        return Some((false, 0));
    }
    Some((true, file[usize::try_from(segment.offset + within).ok()?]))
}

/// Checks a byte: the first segment with bytes for the address decides; without one it is zero, if any
/// segment contains the address.
fn check_against(segments: &[Segment], dump: &Dump<&[u8]>, file: &[u8], at: u64) {
    let mut byte = [0];
    let read = dump.read(GuestPhys(at), &mut byte).ok().map(|()| byte[0]);
    let said: Vec<_> = segments.iter().filter_map(|segment| says(segment, file, at)).collect();
    let expected = said.iter().find(|(in_file, _)| *in_file).or(said.first()).map(|(_, byte)| *byte);
    assert_eq!(read, expected, "at {at:#x} of {segments:x?}");
}

/// Checks what holds for any dump.
fn check(dump: &Dump<&[u8]>, file: &[u8], asked: &mut Input<'_>) {
    let pieces = dump.pieces();
    assert!(!pieces.is_empty(), "a dump without memory");
    assert!(pieces.windows(2).all(|pair| pair[0].end <= pair[1].start), "pieces overlap or are not in order");
    let mut byte = [0];
    for piece in pieces {
        let Piece { start, end, file: offset } = *piece;
        assert!(start < end && end <= END, "{piece:x?}");
        let long = (end - start).min(3 * 4096);
        for at in [start, end - long] {
            let mut bytes = vec![1; long as usize];
            dump.read(GuestPhys(at), &mut bytes).expect("a piece is memory");
            match offset {
                Some(offset) => assert_eq!(bytes, file[(offset + (at - start)) as usize..][..long as usize]),
                None => assert!(bytes.iter().all(|byte| *byte == 0)),
            }
        }
        let is_start = |at| pieces.iter().any(|piece| piece.start == at);
        assert_eq!(dump.read(GuestPhys(end), &mut byte).is_ok(), is_start(end));
        for frame in [start >> 12, (start >> 12) + 1, (end - 1) >> 12, end >> 12] {
            check_frame(dump, Frame(frame));
        }
    }
    for _ in 0..3 {
        check_frame(dump, Frame(asked.word() >> (asked.byte() % 64)));
    }
    let _ = (find_info(dump), dump.five_levels(), dump.remarks().len(), dump.cpus().len(), dump.is_core());
    let paging = paging(asked);
    let budget = Budget { tables: 40, leaves: 300 };
    for root in dump.root().into_iter().chain((0..FRAMES as u64).map(|frame| Frame(frame).base())).take(4) {
        let (mut found, mut plain) = (Vec::new(), Vec::new());
        let summary = paging.walk(dump, root, Half::Both, budget, &mut |leaf| found.push(leaf));
        let other = paging.walk(&Copied(dump), root, Half::Both, budget, &mut |leaf| plain.push(leaf));
        assert_eq!((found, summary), (plain, other));
    }
}

/// Checks that a frame is memory if all of it is readable, and that it is the same table borrowed and copied.
fn check_frame(dump: &Dump<&[u8]>, frame: Frame) {
    let mut bytes = [0; 4096];
    let Some(at) = frame.0.checked_mul(4096) else {
        assert!(!dump.has_frame(frame));
        return;
    };
    let whole = dump.read(GuestPhys(at), &mut bytes).is_ok();
    assert_eq!(dump.has_frame(frame), whole, "frame {:#x}", frame.0);
    let mut scratch = [0; 512];
    let table = dump.table(GuestPhys(at), &mut scratch).map(|table| table.map(u64::to_le_bytes).concat());
    assert_eq!(table.ok(), whole.then(|| bytes.to_vec()));
}

/// A dump that offers only `read`.
struct Copied<'a>(&'a Dump<&'a [u8]>);

impl PhysicalMemory for Copied<'_> {
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), introspect::OutOfRange> {
        self.0.read(at, into)
    }

    fn has_frame(&self, frame: Frame) -> bool {
        self.0.has_frame(frame)
    }
}
