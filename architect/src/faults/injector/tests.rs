//! Moments, places and effects on a guest made of plain bytes.

use abi::frame::{FrameEntry, FrameKind};
use abi::loan::{LOAN_ACTIVE, Loan};
use abi::process::State;
use abi::{Frame, GuestPhys};
use introspect::matrix::guest::{Guest, Process};
use proptest::prelude::*;
use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::scenario::fault::keys::FaultKeys;
use vmm::host::memory::GuestMemory;

const ROOM: usize = 16;
/// Frames of the two processes' descriptors.
const DESCRIPTORS: [Frame; 2] = [Frame(0x10), Frame(0x11)];

fn injector(faults: &[&str]) -> Injector {
    let of = |text: &&str| {
        let keys: FaultKeys = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        Fault::of(&keys).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"))
    };
    Injector::new(faults.iter().map(of))
}

fn descriptor(slot: usize, name: &[u8]) -> Descriptor {
    let mut descriptor = Descriptor::new_zeroed();
    (descriptor.pid, descriptor.ring, descriptor.uid) = (Pid::new(slot, 1), 3, slot as u32);
    (descriptor.state, descriptor.root) = (State::Ready as u8, 0x20);
    descriptor.name[..name.len()].copy_from_slice(name);
    descriptor
}

/// Two processes that share an address space of one page at 0x800000, in 2 MiB of memory.
fn guest() -> (Guest, GuestMemory) {
    let memory = GuestMemory::new(2).unwrap();
    let mut guest = Guest::default();
    guest.frames = vec![FrameEntry::default(); 512];
    for (frame, descriptor) in DESCRIPTORS.into_iter().zip([descriptor(3, b"one"), descriptor(4, b"two")]) {
        memory.write(frame.base(), descriptor.as_bytes()).unwrap();
        guest.frames[frame.0 as usize].kind = FrameKind::Descriptor as u8;
        guest.processes.push(Process { frame, descriptor });
    }
    let entries = [(0x20, 0, 0x21), (0x21, 0, 0x22), (0x22, 4, 0x23), (0x23, 0, 0x30), (0x23, 1, 0x31)];
    for (table, nth, to) in entries {
        let at = Frame(table).base().add(nth * 8);
        memory.write(at, &(to * 4096 + 7_u64).to_le_bytes()).unwrap();
        guest.frames[table as usize].kind = FrameKind::PageTable as u8;
    }
    for frame in [0x30, 0x31] {
        guest.frames[frame].kind = FrameKind::User as u8;
    }
    guest.loans.push(Loan { state: LOAN_ACTIVE, pages: 1, frames: [0x30, 0, 0, 0], ..Loan::default() });
    (guest, memory)
}

/// What all faults do at a tick; writes are made.
fn tick(injector: &mut Injector, tick: u64, guest: &Guest, memory: &GuestMemory, room: usize) -> Vec<Deed> {
    if !injector.wants(tick) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for number in injector.busy() {
        for deed in injector.act(number, tick, &Scene { guest, memory }, room) {
            if let Act::Write(word, value) = deed.act {
                memory.write(word.at, &value.to_le_bytes()[..word.bytes.into()]).unwrap();
            }
            all.push(deed);
        }
    }
    all
}

fn record(kind: Kind, slot: usize) -> Record {
    Record { kind: kind as u16, pid: Pid::new(slot, 1), ..Record::default() }
}

#[test]
fn the_nth_event_of_the_one_who_is_meant_counts() {
    let (guest, memory) = guest();
    let mut injector = injector(&[
        "when = { event = \"send\", nth = 2, process = \"two\" }\nwhat.nmi = true",
        "when = { event = \"send\", nth = 3 }\nwhat.nmi = true",
    ]);
    let find = |pid: Pid| guest.process(pid).map(|process| process.descriptor);
    let mut acted = Vec::new();
    // The second time nobody finds the process any more: it is known from before.
    for (at, slot, found) in [(1, 3, true), (2, 4, true), (3, 4, false), (4, 4, false)] {
        injector.record(&record(Kind::Send, slot), |pid| found.then(|| find(pid)).flatten());
        injector.record(&record(Kind::Reply, slot), find);
        acted.extend(tick(&mut injector, at, &guest, &memory, ROOM).iter().map(|deed| (at, deed.number)));
    }
    assert_eq!(acted, [(3, 0), (3, 1)]);
}

#[test]
fn a_tick_that_was_leapt_over_comes_with_the_next_doorbell_and_once() {
    let (guest, memory) = guest();
    let mut injector = injector(&["when.tick = 10\nwhat.pause = 5"]);
    let mut at = |now| tick(&mut injector, now, &guest, &memory, ROOM).len();
    assert_eq!([9, 14, 15].map(&mut at), [0, 1, 0]);
}

#[test]
fn a_bit_is_held_against_whoever_writes_it_until_its_time_is_over() {
    let (guest, memory) = guest();
    let at = GuestPhys(0x30_008);
    let mut injector = injector(&[
        "when.tick = 1\nwhere = { virtual = 0x800008, process = \"one\" }\nwhat = { stuck-at = 1, bit = 4, ticks = 5 }",
    ]);
    let notes = |deeds: Vec<Deed>| deeds.into_iter().map(|deed| deed.note).collect::<Vec<_>>();
    let told = notes(tick(&mut injector, 1, &guest, &memory, ROOM));
    assert_eq!(told, [Note::Injected { pid: Pid::new(3, 1), at: at.0, change: 16 }]);
    assert_eq!(notes(tick(&mut injector, 2, &guest, &memory, ROOM)), [], "it is so already");
    memory.write(at, &3_u64.to_le_bytes()).unwrap();
    assert_eq!(notes(tick(&mut injector, 3, &guest, &memory, ROOM)), [Note::Silent]);
    assert_eq!(memory.read_u64(at).unwrap(), 19);
    assert_eq!(injector.standing(&Scene { guest: &guest, memory: &memory }), 1);
    assert_eq!(notes(tick(&mut injector, 6, &guest, &memory, ROOM)), [Note::Ended { at: at.0 }]);
    memory.write(at, &3_u64.to_le_bytes()).unwrap();
    assert_eq!(notes(tick(&mut injector, 7, &guest, &memory, ROOM)), []);
    assert_eq!(injector.standing(&Scene { guest: &guest, memory: &memory }), 0);
}

#[test]
fn a_change_is_what_differs_between_two_ticks() {
    let (guest, memory) = guest();
    let mut injector = injector(&["when = { changed = { physical = 0x30010 }, nth = 2 }\nwhat.nmi = true"]);
    let mut acted = Vec::new();
    for (at, value) in [(1, 7_u64), (2, 7), (3, 8), (4, 8), (5, 7), (6, 9)] {
        memory.write(GuestPhys(0x30_010), &value.to_le_bytes()).unwrap();
        acted.extend(tick(&mut injector, at, &guest, &memory, ROOM).iter().map(|_| at));
    }
    assert_eq!(acted, [5], "once, at the second change; what was there at first is none");
}

#[test]
fn who_finds_no_room_for_a_command_waits() {
    let (guest, memory) = guest();
    let mut injector = injector(&["when.tick = 1\nwhere.process = \"any\"\nwhat.kill = true"]);
    assert_eq!(tick(&mut injector, 1, &guest, &memory, 0), []);
    let deeds = tick(&mut injector, 2, &guest, &memory, 1);
    assert!(
        matches!(deeds[..], [Deed { act: Act::Command(Command { what: COMMAND_KILL, .. }), .. }]),
        "{deeds:?}"
    );
    assert_eq!(tick(&mut injector, 3, &guest, &memory, 1), []);
}

#[test]
fn two_entries_change_places_and_translations_must_go() {
    let (guest, memory) = guest();
    let mut injector =
        injector(&["when.tick = 1\nwhere = { page-table = 0x800000, process = \"one\" }\nwhat.swap = true"]);
    let deeds = tick(&mut injector, 1, &guest, &memory, ROOM);
    assert_eq!(deeds.len(), 2);
    assert!(deeds.iter().all(|deed| matches!(deed.act, Act::Write(Word { table: true, .. }, _))));
    let entry = |nth: u64| memory.read_u64(Frame(0x23).base().add(nth * 8)).unwrap() >> 12;
    assert_eq!([entry(0), entry(1)], [0x31, 0x30]);
}

#[test]
fn two_flips_of_one_bit_leave_nothing() {
    let (guest, memory) = guest();
    let flip =
        "when.tick = 1\nwhere = { descriptor = \"uid\", process = \"two\" }\nwhat = { flip = 1, bit = 0 }";
    let mut injector = injector(&[flip, flip]);
    let uid = DESCRIPTORS[1].base().add(core::mem::offset_of!(Descriptor, uid) as u64 & !7);
    let before = memory.read_u64(uid).unwrap();
    assert_eq!(tick(&mut injector, 1, &guest, &memory, ROOM).len(), 2);
    assert_eq!(memory.read_u64(uid).unwrap(), before);
    assert_eq!(injector.standing(&Scene { guest: &guest, memory: &memory }), 0);
}

/// Places with something to choose.
const PLACES: [&str; 9] = [
    "page-table = \"any\", process = \"any\"",
    "page-table = \"any\", process = \"any\", level = 4",
    "page-table = 0x800000, process = \"two\", level = 3",
    "virtual = \"any\", process = \"any\"",
    "descriptor = \"state\", process = \"any\"",
    "message = \"loan\"",
    "frame = \"user\"",
    "register = \"rsp\", process = \"any\"",
    "physical = 0x1ffff8",
];

proptest! {
    #[test]
    fn the_same_draw_does_the_same_and_always_in_memory(draw in 0..u64::MAX >> 1, place in 0..PLACES.len(), flip in 1_u32..9) {
        let (guest, memory) = guest();
        let text = format!("draw = {draw}\nwhen.tick = 1\nwhere = {{ {} }}\nwhat.flip = {flip}", PLACES[place]);
        let scene = Scene { guest: &guest, memory: &memory };
        let act = || {
            let mut injector = injector(&[&text]);
            injector.wants(1);
            injector.act(0, 1, &scene, ROOM)
        };
        let deeds = act();
        prop_assert_eq!(&act(), &deeds);
        let [Deed { act: Act::Write(word, value), note: Note::Injected { at, change, .. }, .. }] = deeds[..] else {
            panic!("{deeds:?}")
        };
        let before = target::read(&memory, word).expect("it is memory");
        prop_assert_eq!((word.at.0, (before ^ value).count_ones()), (at, flip.min(u32::from(word.bytes) * 8)));
        let told = if word.table { (before ^ value) & !HARDWARE_BITS } else { before ^ value };
        prop_assert_eq!(told, change);
    }

    #[test]
    fn a_damaged_guest_is_survived(draw in 0..u64::MAX >> 1, place in 0..PLACES.len(), noise in prop::collection::vec(any::<(u16, u64)>(), 0..40)) {
        let (mut guest, memory) = guest();
        for (at, value) in noise {
            let at = GuestPhys(0x10_000 + u64::from(at) * 8 % 0x15_000);
            memory.write(at, &value.to_le_bytes()).unwrap();
        }
        for process in &mut guest.processes {
            process.descriptor = memory.read_value(process.frame.base()).unwrap();
        }
        let text = format!("draw = {draw}\nwhen.tick = 1\nwhere = {{ {} }}\nwhat.flip = 1", PLACES[place]);
        let mut injector = injector(&[&text]);
        injector.wants(1);
        let _ = injector.act(0, 1, &Scene { guest: &guest, memory: &memory }, ROOM);
        let _ = injector.standing(&Scene { guest: &guest, memory: &memory });
    }
}
