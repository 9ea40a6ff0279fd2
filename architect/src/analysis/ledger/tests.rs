//! The ledger on single stories, and on random ones beside a model that knows nothing but the definition.

use abi::frame::FrameKind;
use introspect::x86::paging::bits::{PRESENT, USER};
use proptest::prelude::*;

use super::*;

const A: Pid = Pid::new(1, 0);
const B: Pid = Pid::new(2, 0);
const C: Pid = Pid::new(3, 0);

fn record(kind: Kind, pid: Pid, a: u32, b: u64, c: u64) -> Record {
    Record { tick: 0, kind: kind as u16, reserved: 0, pid, a, b, c }
}

fn given(pid: Pid, kind: FrameKind) -> Record {
    record(Kind::Given, pid, kind as u32, 9, 0)
}

fn freed(pid: Pid, quarantined: u32) -> Record {
    record(Kind::Freed, pid, quarantined, 9, 1)
}

/// A's frame 9, lent to B.
fn lent() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.apply(&given(A, FrameKind::User));
    ledger.apply(&record(Kind::Lend, A, 1, 9, u64::from(B.0)));
    ledger
}

fn sharing(owner: Pid, other: Pid) -> Sharing {
    Sharing { frame: Frame(9), owner, other }
}

#[test]
fn a_frame_given_on_while_a_window_stands_is_shared_wrongly() {
    let mut ledger = lent();
    ledger.apply(&freed(A, 1));
    ledger.audit(|_, _| true);
    assert_eq!(ledger.actual(), 0);
    assert_eq!(ledger.owner(Frame(9)), Some(Pid::NONE));
    ledger.apply(&Record { tick: 5, ..given(C, FrameKind::User) });
    ledger.audit(|_, _| true);
    assert!(ledger.confirms(&sharing(C, B)));
    assert_eq!((ledger.actual(), ledger.unseen()), (1, 0));
    assert_eq!((ledger.since(&sharing(C, B)), ledger.owner(Frame(9))), (Some(5), Some(C)));
    ledger.apply(&Record { tick: 8, ..freed(C, 1) });
    assert_eq!(ledger.since(&sharing(C, B)), None);
}

#[test]
fn a_window_that_is_gone_harms_nobody() {
    let mut ledger = lent();
    ledger.apply(&freed(A, 1));
    ledger.apply(&record(Kind::Teardown, B, 1, 0, 0));
    ledger.apply(&given(C, FrameKind::User));
    ledger.audit(|_, _| true);
    assert_eq!((ledger.actual(), ledger.unseen()), (0, 0));
}

/// A window of B's that stands by the trace and is wrong; B's page tables are at 0x5000.
fn wrong() -> Ledger {
    let mut ledger = lent();
    ledger.apply(&record(Kind::Spawn, B, 0, 0, 0x5000));
    ledger.apply(&freed(A, 1));
    ledger.apply(&given(C, FrameKind::User));
    ledger
}

#[test]
fn a_window_that_was_wiped_out_is_no_audits_to_find() {
    let mut ledger = wrong();
    ledger.audit(|root, frame| (root, frame) != (GuestPhys(0x5000), Frame(9)));
    assert_eq!((ledger.actual(), ledger.wiped_out(), ledger.unseen()), (0, 1, 0));
    assert!(!ledger.confirms(&sharing(C, B)));
    // What is there at any audit is that one's to find, whatever becomes of it.
    ledger.audit(|_, _| true);
    ledger.audit(|_, _| false);
    assert_eq!((ledger.actual(), ledger.wiped_out(), ledger.unseen()), (1, 0, 0));
}

#[test]
fn without_page_tables_to_ask_a_window_counts() {
    let mut nobody = lent();
    nobody.apply(&freed(A, 1));
    nobody.apply(&given(C, FrameKind::User));
    // Another process has come to B's place.
    let mut successor = wrong();
    successor.apply(&record(Kind::Spawn, Pid::new(B.slot(), 1), 0, 0, 0x6000));
    for mut ledger in [nobody, successor] {
        ledger.audit(|_, _| false);
        assert_eq!((ledger.actual(), ledger.wiped_out()), (1, 0));
    }
}

#[test]
fn a_window_is_there_if_ring_3_reaches_the_frame_by_it() {
    const ROOT: GuestPhys = GuestPhys(0x1000);
    const TABLES: [(u64, u64); 3] = [(0x1000, 0), (0x2000, 0), (0x3000, 3)];
    let memory = |last: u64, entry: u64, without: usize, rights: u64| {
        let mut memory = vec![0; 0xa000];
        let mut set = |at: u64, value: u64| memory[at as usize..][..8].copy_from_slice(&value.to_le_bytes());
        for (nth, (table, index)) in TABLES.into_iter().enumerate() {
            let rights = if nth == without { rights } else { PRESENT | USER };
            set(table + index * 8, (table + 0x1000) | rights);
        }
        set(0x4000 + last * 8, entry);
        memory
    };
    let maps = |memory: Vec<u8>| window_maps(&*memory, ROOT, Frame(9));
    let entry = 0x9000 | PRESENT | USER;
    for page in [0, 1, 255] {
        assert!(maps(memory(page, entry, 9, 0)), "page {page}");
    }
    assert!(!maps(memory(256, entry, 9, 0)), "beyond the windows");
    for other in [0, 0x9000 | USER, 0x9000 | PRESENT, 0x8000 | PRESENT | USER] {
        assert!(!maps(memory(0, other, 9, 0)), "entry {other:#x}");
    }
    for level in 0..3 {
        for rights in [0, PRESENT, USER] {
            assert!(!maps(memory(0, entry, level, rights)), "level {level}, rights {rights}");
        }
    }
    assert!(!window_maps(&[0; 8][..], ROOT, Frame(9)), "no memory there");
}

#[test]
fn what_comes_and_goes_between_two_audits_is_counted_apart() {
    let mut ledger = lent();
    ledger.apply(&freed(A, 1));
    ledger.apply(&given(C, FrameKind::User));
    ledger.apply(&record(Kind::Teardown, B, 1, 0, 0));
    ledger.audit(|_, _| true);
    assert_eq!((ledger.actual(), ledger.unseen()), (0, 1));
}

#[test]
fn the_lender_itself_may_get_its_frame_again() {
    let mut ledger = lent();
    ledger.apply(&given(A, FrameKind::User));
    ledger.audit(|_, _| true);
    assert_eq!(ledger.actual(), 0);
}

#[test]
fn a_borrower_that_is_given_the_frame_itself_has_it_by_right_but_not_as_the_kernels() {
    let mut ledger = lent();
    ledger.apply(&freed(A, 1));
    ledger.apply(&given(B, FrameKind::User));
    ledger.audit(|_, _| true);
    assert_eq!(ledger.actual(), 0);
    for (kind, actual) in [(FrameKind::Shared, 0), (FrameKind::PageTable, 1)] {
        ledger.apply(&freed(B, 1));
        ledger.apply(&given(B, kind));
        ledger.audit(|_, _| true);
        assert_eq!(ledger.actual(), actual, "{kind:?}");
    }
    assert!(ledger.confirms(&sharing(B, B)));
}

#[test]
fn out_of_quarantine_a_frame_must_be_out_of_every_windows_reach() {
    let mut ledger = lent();
    ledger.apply(&freed(A, 0));
    ledger.audit(|_, _| true);
    assert!(ledger.confirms(&sharing(Pid::NONE, B)));

    let mut ledger = lent();
    ledger.apply(&freed(A, 1));
    ledger.audit(|_, _| true);
    assert_eq!(ledger.actual(), 0);
    ledger.apply(&record(Kind::Epoch, Pid::NONE, 1, 1, 0));
    ledger.audit(|_, _| true);
    assert!(ledger.confirms(&sharing(Pid::NONE, B)));
}

#[test]
fn a_page_shared_with_the_kernel_is_nobodys_between_two_lives_of_its_service() {
    let mut ledger = lent();
    ledger.apply(&freed(A, 1));
    ledger.apply(&given(C, FrameKind::Shared));
    assert!(ledger.since(&sharing(C, B)).is_some());
    ledger.apply(&record(Kind::Exit, C, 1, 0, 0));
    assert_eq!((ledger.since(&sharing(C, B)), ledger.owner(Frame(9))), (None, Some(Pid::NONE)));
    assert!(ledger.since(&sharing(Pid::NONE, B)).is_some());
    let again = Pid::new(3, 1);
    ledger.apply(&record(Kind::Attached, again, 0, 9, 0));
    assert!(ledger.since(&sharing(again, B)).is_some() && ledger.since(&sharing(Pid::NONE, B)).is_none());
}

#[test]
fn a_new_machine_has_no_past() {
    let mut ledger = lent();
    ledger.power_on();
    ledger.apply(&given(C, FrameKind::User));
    assert_eq!(ledger.since(&sharing(C, B)), None);
    assert_eq!(ledger.owner(Frame(8)), None);
}

/// A step of a story about four frames and four processes.
fn steps() -> impl Strategy<Value = Record> {
    const KINDS: [FrameKind; 4] =
        [FrameKind::User, FrameKind::Shared, FrameKind::PageTable, FrameKind::Descriptor];
    const ENDS: [Kind; 5] = [Kind::Exit, Kind::Fault, Kind::Kill, Kind::Tagged, Kind::OutOfMemory];
    let pid = (1..5usize).prop_map(|slot| Pid::new(slot, 0));
    let frame = 0..4u64;
    prop_oneof![
        4 => (pid.clone(), prop::sample::select(&KINDS[..]), frame.clone())
            .prop_map(|(pid, kind, frame)| record(Kind::Given, pid, kind as u32, frame, 0)),
        4 => (pid.clone(), 0..2u32, frame.clone())
            .prop_map(|(pid, guarded, frame)| record(Kind::Freed, pid, guarded, frame, 0)),
        4 => (pid.clone(), 0..6u32, frame, pid.clone())
            .prop_map(|(pid, loan, frame, to)| record(Kind::Lend, pid, loan, frame, to.0.into())),
        1 => (pid.clone(), 0..4u64).prop_map(|(pid, frame)| record(Kind::Attached, pid, 0, frame, 0)),
        1 => (pid.clone(), prop::sample::select(&ENDS[..])).prop_map(|(pid, end)| record(end, pid, 0, 1, 0)),
        3 => (pid, 0..6u32).prop_map(|(pid, loan)| record(Kind::Teardown, pid, loan, 0, 0)),
        1 => Just(record(Kind::Epoch, Pid::NONE, 0, 0, 0)),
        1 => Just(record(Kind::Pet, Pid::NONE, 0, 1, 0)),
    ]
}

/// To whom and for what a frame was given last; for nothing if it is free, `None` in quarantine or where nothing is known.
fn last_use(story: &[Record], frame: u64) -> Option<(Pid, Option<u32>)> {
    const SHARED: Option<u32> = Some(FrameKind::Shared as u32);
    let mut last = None;
    let mut quarantined = false;
    for record in story {
        let ours = record.b == frame;
        match Kind::from_raw(record.kind) {
            Some(Kind::Given) if ours => last = Some((record.pid, Some(record.a))),
            Some(Kind::Attached) if ours => last = Some((record.pid, SHARED)),
            Some(Kind::Freed) if ours => {
                quarantined = record.a != 0;
                last = (!quarantined).then_some((Pid::NONE, None));
            }
            Some(Kind::Epoch) if last.is_none() && quarantined => last = Some((Pid::NONE, None)),
            Some(Kind::Exit | Kind::Fault | Kind::Kill | Kind::Tagged | Kind::OutOfMemory)
                if last == Some((record.pid, SHARED)) =>
            {
                last = Some((Pid::NONE, SHARED));
            }
            _ => {}
        }
    }
    last
}

/// All wrong sharings after a whole story, by the definition: for each window that was opened and not taken down since,
/// by what its frame is used for.
fn by_definition(story: &[Record]) -> BTreeSet<Sharing> {
    let is = |record: &Record, kind: Kind| record.kind == kind as u16;
    let mut wrong = BTreeSet::new();
    for (at, lend) in story.iter().enumerate().filter(|(_, record)| is(record, Kind::Lend)) {
        if story[at..].iter().any(|later| is(later, Kind::Teardown) && later.a == lend.a) {
            continue;
        }
        let (frame, lender, other) = (lend.b, lend.pid, Pid(lend.c as u32));
        let Some((owner, used)) = last_use(story, frame) else { continue };
        let is_right = if used == Some(FrameKind::User as u32) {
            owner == lender || owner == other
        } else {
            used == Some(FrameKind::Shared as u32) && owner == other
        };
        if !is_right {
            wrong.insert(Sharing { frame: Frame(frame), owner, other });
        }
    }
    wrong
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn the_ledger_knows_what_is_wrong_and_since_when(
        mut story in prop::collection::vec(steps(), 0..80),
        audits in prop::collection::btree_set(0..80usize, 0..20),
    ) {
        let mut ledger = Ledger::default();
        let (mut since, mut ever, mut audited) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        for at in 0..story.len() {
            story[at].tick = at as u32;
            ledger.apply(&story[at]);
            let wrong = by_definition(&story[..=at]);
            since.retain(|sharing, _| wrong.contains(sharing));
            for sharing in &wrong {
                since.entry(*sharing).or_insert(at as u32);
            }
            ever.extend(wrong.iter().copied());
            prop_assert_eq!(&ledger.standing, &since);
            if audits.contains(&at) {
                ledger.audit(|_, _| true);
                audited.extend(wrong);
            }
        }
        prop_assert_eq!(ledger.actual() as usize, audited.len());
        prop_assert!(audited.iter().all(|sharing| ledger.confirms(sharing)));
        prop_assert_eq!(ledger.unseen() as usize, ever.len() - audited.len());
    }
}
