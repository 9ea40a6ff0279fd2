//! Golden runs made by hand: what is unread in them, and what that says of faults.

use abi::loan::{LOAN_DRAINING, Loan};
use introspect::x86::Space;
use introspect::x86::paging::Paging;
use introspect::x86::walk::Budget;
use proptest::prelude::*;

use super::*;
use crate::scenario::fault::keys::FaultKeys;
use crate::trace::events::Events;
use crate::trace::places::Places;

const FRAMES: usize = 64;
/// The only address space: four tables from here on.
const ROOT: u64 = 40;
/// The frame that it can map.
const PAGE: u64 = 50;

/// A guest of one address space in memory of 64 frames.
struct Matrix {
    guest: Guest,
    memory: Vec<u8>,
    unread: Unread,
    tick: u64,
    records: Vec<Record>,
}

impl Matrix {
    fn new() -> Self {
        let mut guest = Guest::default();
        guest.frames = vec![FrameEntry::default(); FRAMES];
        let mut matrix = Self {
            guest,
            memory: vec![0; FRAMES << 12],
            unread: Unread::new(1),
            tick: 0,
            records: Vec::new(),
        };
        for level in 0..4 {
            matrix.used(ROOT + level, FrameKind::PageTable);
            if level < 3 {
                matrix.entry(ROOT + level, (ROOT + level + 1) << 12 | 7);
            }
        }
        matrix.record(Kind::Start, 0, 0);
        matrix
    }

    fn entry(&mut self, table: u64, entry: u64) {
        self.memory[(table << 12) as usize..][..8].copy_from_slice(&entry.to_le_bytes());
    }

    fn used(&mut self, frame: u64, kind: FrameKind) {
        self.guest.frames[frame as usize].kind = kind as u8;
    }

    fn record(&mut self, kind: Kind, b: u64, c: u64) {
        let record = Record { kind: kind as u16, tick: self.tick as u32, b, c, ..Record::default() };
        self.records.push(record);
        self.unread.record(&record);
    }

    /// The next doorbell.
    fn tick(&mut self) {
        self.tick += 1;
        let space =
            Space { id: introspect::matrix::space::space_id(Pid::new(1, 0)), root: Frame(ROOT).base() };
        let map = ReverseMap::build(&*self.memory, Paging::default(), [space], Budget::default());
        self.unread.doorbell(self.tick, Some((&self.guest, &map, space.root)));
    }

    /// The page is used for something else, up to the next doorbell.
    fn page_becomes(&mut self, kind: FrameKind) {
        self.used(PAGE, kind);
        self.tick();
    }

    /// The rest of the run.
    fn end(&mut self) {
        self.record(Kind::End, 0, 0);
    }

    /// What becomes of a bit of this frame that is inverted at this tick.
    fn fault(&self, tick: u64, frame: u64) -> Option<Foretold> {
        self.faults(&[&format!("when.tick = {tick}\nwhere.physical = {}\nwhat.flip = 1", frame << 12)])
    }

    fn faults(&self, faults: &[&str]) -> Option<Foretold> {
        let of = |text: &&str| {
            let keys: FaultKeys = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            Fault::of(&keys).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"))
        };
        self.unread.foretell(faults.iter().map(of).collect())
    }

    fn is_unread(&self, tick: u64, frame: u64) -> bool {
        self.fault(tick, frame).is_some()
    }
}

#[test]
fn a_frame_is_unread_until_it_is_given_out_and_again_when_it_is_free() {
    let mut matrix = Matrix::new();
    matrix.tick();
    matrix.page_becomes(FrameKind::User);
    matrix.page_becomes(FrameKind::Quarantined);
    matrix.page_becomes(FrameKind::Free);
    matrix.end();
    let unread: Vec<_> = (1..=4).map(|tick| matrix.is_unread(tick, PAGE)).collect();
    assert_eq!(unread, [true, false, true, true]);
    assert!((1..=4).all(|tick| !matrix.is_unread(tick, ROOT)));
}

#[test]
fn what_anybody_can_reach_is_not_unread_whatever_the_frame_table_says() {
    for way in 0..4 {
        let mut matrix = Matrix::new();
        matrix.used(PAGE, FrameKind::Quarantined);
        match way {
            0 => matrix.entry(ROOT + 3, PAGE << 12 | 7),
            1 => matrix.guest.loans.push(Loan {
                state: LOAN_DRAINING,
                frames: [PAGE as u32, 0, 0, 0],
                ..Loan::default()
            }),
            2 => matrix.entry(ROOT + 2, PAGE << 12 | 7),
            _ => {}
        }
        matrix.tick();
        matrix.end();
        assert_eq!(matrix.is_unread(1, PAGE), way == 3, "way {way}");
    }
    // The processor has tables that nobody is known to have.
    let mut matrix = Matrix::new();
    let map = ReverseMap::default();
    matrix.unread.doorbell(1, Some((&matrix.guest, &map, Frame(ROOT).base())));
    matrix.end();
    assert!(!matrix.is_unread(1, PAGE));
}

#[test]
fn who_comes_to_reach_a_frame_that_was_not_given_out_may_have_read_it_before() {
    let mut matrix = Matrix::new();
    matrix.page_becomes(FrameKind::User);
    matrix.page_becomes(FrameKind::Quarantined);
    matrix.page_becomes(FrameKind::Free);
    matrix.entry(ROOT + 3, PAGE << 12 | 7);
    matrix.tick();
    matrix.end();
    assert!((1..=4).all(|tick| !matrix.is_unread(tick, PAGE)));
    assert!((1..=4).all(|tick| matrix.is_unread(tick, PAGE + 1)), "others are what they were");
}

#[test]
fn trouble_ends_all_of_it_but_what_was_rewritten_before() {
    let trouble = [(Kind::Given, 2), (Kind::Phone, 0), (Kind::CrossingFound, 0), (Kind::Reset, 0)];
    for (kind, c) in trouble {
        let mut matrix = Matrix::new();
        matrix.tick();
        matrix.page_becomes(FrameKind::User);
        matrix.record(kind, 0, c);
        matrix.page_becomes(FrameKind::Free);
        matrix.end();
        assert!(matrix.is_unread(1, PAGE), "{kind:?}: it was zeroed before");
        assert!(!matrix.is_unread(1, PAGE + 1), "{kind:?}: it was not");
        assert!((2..=9).all(|tick| !matrix.is_unread(tick, PAGE)), "{kind:?}");
    }
    let mut matrix = Matrix::new();
    matrix.record(Kind::Given, 0, 1);
    matrix.tick();
    assert!(matrix.is_unread(1, PAGE), "from the free list");
    assert!(!matrix.is_unread(2, PAGE), "its moment is still to come");
    matrix.end();
    assert!(matrix.is_unread(2, PAGE), "and never came");
}

#[test]
fn only_bits_of_memory_at_a_tick_are_foretold() {
    let mut matrix = Matrix::new();
    matrix.tick();
    matrix.end();
    let is = |faults: &[&str]| matrix.faults(faults).is_some();
    let good = "when.tick = 1\nwhere.frame = \"unused\"\nwhat.flip = 3";
    assert!(is(&[]) && is(&[good]) && is(&[good, good]));
    for bad in [
        "when.tick = 1\nwhere.frame = \"page-table\"\nwhat.flip = 1",
        "when.tick = 1\nwhere.physical = 0x32000\nwhat.stuck-at = 1",
        "when.beat = \"leak\"\nwhere.physical = 0x32000\nwhat.flip = 1",
        "when.tick = 1\nwhat.nmi = true",
    ] {
        assert!(!is(&[bad]) && !is(&[good, bad]), "{bad}");
    }
    let missed = matrix.faults(&["when.tick = 1\nwhere.physical = 0x200000\nwhat.flip = 1"]).unwrap();
    assert_eq!((missed.acted, missed.missed, missed.events), (0, 1, 3), "there is no memory");
}

proptest! {
    /// The records are those that a run would have: the golden run's, and the faults' own where they act.
    #[test]
    fn the_hash_is_that_of_the_golden_records_with_the_faults_between(
        steps in prop::collection::vec(0..4_u64, 1..20), faults in prop::collection::vec((1..40_u64, PAGE..FRAMES as u64), 0..4)
    ) {
        let mut matrix = Matrix::new();
        let mut doorbells = Vec::new();
        for step in steps {
            (0..step).for_each(|nth| matrix.record(Kind::Send, nth, 0));
            // An idle guest leaps.
            matrix.tick += step;
            matrix.tick();
            doorbells.push((matrix.tick, matrix.records.len()));
        }
        matrix.end();
        let texts: Vec<_> = faults
            .iter()
            .map(|(tick, frame)| format!("when.tick = {tick}\nwhere.physical = {}\nwhat = {{ flip = 1, bit = 5 }}", frame << 12))
            .collect();
        let told = matrix.faults(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();

        let mut records = matrix.records.clone();
        let mut acting: Vec<_> = (0..).zip(&faults).filter_map(|(number, (tick, frame))| {
            let (at, place) = doorbells.iter().find(|(doorbell, _)| doorbell >= tick)?;
            let record = Record {
                tick: *at as u32, kind: Kind::FaultInjected as u16, a: number, b: frame << 12, c: 32, ..Record::default()
            };
            Some((*place, number, record))
        }).collect();
        acting.sort_by_key(|(_, number, record)| (record.tick, *number));
        for (place, _, record) in acting.iter().rev() {
            records.insert(*place, *record);
        }
        let mut events = Events::new(None, Places::default());
        records.iter().for_each(|record| events.push(*record));
        let (hash, marks) = events.finish().unwrap();
        prop_assert_eq!((told.trace_hash, told.trace_marks), (hash, marks));
        prop_assert_eq!((told.acted as usize, told.events as usize), (acting.len(), records.len()));
    }
}
