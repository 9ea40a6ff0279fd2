//! Guest memory: what is written, read, frozen and restored.

use super::*;
use crate::host::memory::regions::{HOLE_END, HOLE_START, Region, regions};
use introspect::Changed;

#[test]
fn memory_stops_at_three_gib_and_goes_on_at_four() {
    assert_eq!(regions(64), [Region { start: GuestPhys(0), bytes: 64 << 20 }]);
    assert_eq!(regions(3072), [Region { start: GuestPhys(0), bytes: HOLE_START }]);
    assert_eq!(
        regions(4096),
        [
            Region { start: GuestPhys(0), bytes: HOLE_START },
            Region { start: GuestPhys(HOLE_END), bytes: 1 << 30 }
        ]
    );
}

#[test]
fn what_is_written_is_read_back() {
    let memory = GuestMemory::new(2).unwrap();
    memory.write(GuestPhys(0x1234), b"abc").unwrap();
    let mut back = [0; 5];
    memory.read(GuestPhys(0x1233), &mut back).unwrap();
    assert_eq!(&back, b"\0abc\0");
    memory.zero(Frame(1)).unwrap();
    memory.read(GuestPhys(0x1233), &mut back).unwrap();
    assert_eq!(back, [0; 5]);
}

#[test]
fn a_table_in_place_is_the_table_that_is_read() {
    let memory = GuestMemory::new(2).unwrap();
    for at in [0x1000, 0x1ff8, 0x1003] {
        memory.write(GuestPhys(at), &0x1234_5007_u64.to_le_bytes()).unwrap();
    }
    for at in [0x1000, 0x2000, 0x1004, (2 << 20) - 4096] {
        let (mut used, mut page) = (Vec::new(), [0; 512]);
        memory.entries(GuestPhys(at), 5, &mut [0; 512], &mut used).unwrap();
        memory.read_table(GuestPhys(at), &mut page).unwrap();
        let read = (0..).zip(page).filter(|(_, value)| value & 5 == 5);
        let read: Vec<_> = read.map(|(index, value)| UsedEntry::new(index, value)).collect();
        assert_eq!(used, read, "{at:#x}");
    }
    assert!(memory.entries(GuestPhys((2 << 20) - 4088), 1, &mut [0; 512], &mut Vec::new()).is_err());
}

#[test]
fn a_page_that_was_a_table_in_use_is_told_when_it_is_restore() {
    let first = GuestMemory::new(2).unwrap();
    first.write(GuestPhys(0x1010), &0x21_u32.to_le_bytes()).unwrap();
    let backing = first.freeze().unwrap();
    let memory = GuestMemory::copy_on_write(&backing).unwrap();
    let restore = |tables| memory.restore_frame(Frame(1), &backing, tables).unwrap();
    assert!(!restore(true), "an entry that is as it was");
    for (at, entry, told) in [
        (0x1000, 0x21_u32, true),
        (0x1ffc, 0xffff_ffff, true),
        (0x1014, 0x63, true),
        (0x1010, 0x8000_0021, true),
        (0x1010, 0x20, false),
        (0x1800, 0x01, false),
        (0x1ff8, !0x01, false),
        (0x2000, 0x21, false),
    ] {
        for (tables, told) in [(true, told), (false, false)] {
            memory.write(GuestPhys(at), &entry.to_le_bytes()).unwrap();
            assert_eq!(restore(tables), told, "{entry:#x} at {at:#x}");
        }
    }
    let mut back = [0; 4];
    memory.read(GuestPhys(0x1010), &mut back).unwrap();
    assert_eq!(back, 0x21_u32.to_le_bytes());
}

#[test]
fn what_we_write_is_told_once() {
    let memory = GuestMemory::new(3073).unwrap();
    memory.write(GuestPhys(0x1fff), &[1, 2]).unwrap();
    memory.zero(Frame(HOLE_END / PAGE_SIZE + 70)).unwrap();
    let _ = memory.write(GuestPhys(HOLE_START - 1), &[1, 1]);
    let mut changed = Changed::nothing();
    memory.drain_written(|first, words| changed.add_words(first, words));
    let frames = [1, 2, HOLE_END / PAGE_SIZE + 70].map(Frame);
    assert_eq!(changed.frames().collect::<Vec<_>>(), frames);
    changed.clear();
    memory.drain_written(|first, words| changed.add_words(first, words));
    assert_eq!(changed.frames().count(), 0);
}

#[test]
fn nothing_outside_is_ever_touched() {
    let memory = GuestMemory::new(2).unwrap();
    let end = 2 << 20;
    for at in [end, end - 1, u64::MAX, u64::MAX - 1, HOLE_START, HOLE_END] {
        assert!(memory.write(GuestPhys(at), &[1, 2]).is_err(), "{at:#x}");
        assert!(memory.read(GuestPhys(at), &mut [0; 2]).is_err(), "{at:#x}");
    }
    // A write that does not fit leaves nothing behind.
    let mut last = [0];
    memory.read(GuestPhys(end - 1), &mut last).unwrap();
    assert_eq!(last, [0]);
    assert!(memory.zero(Frame(end / PAGE_SIZE)).is_err());
    assert!(memory.zero(Frame(u64::MAX)).is_err());
    assert!(memory.zero(Frame(u64::MAX / PAGE_SIZE)).is_err());
}

#[test]
fn a_large_guest_has_both_regions() {
    let memory = GuestMemory::new(3073).unwrap();
    memory.write(GuestPhys(HOLE_END + 5), &[9]).unwrap();
    let mut back = [0];
    memory.read(GuestPhys(HOLE_END + 5), &mut back).unwrap();
    assert_eq!(back, [9]);
    // The two regions do not touch: an access across the hole is refused as a whole.
    assert!(memory.write(GuestPhys(HOLE_START - 1), &[1, 1]).is_err());
    assert_eq!(memory.bytes(), 3073 << 20);
}
