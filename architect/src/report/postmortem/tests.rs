use std::collections::BTreeSet;

use abi::frame::FrameKind;
use abi::process::{Descriptor, State};
use abi::trace::{Kind, Record};
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::guest::{Guest, Process};
use proptest::prelude::*;
use serde_json::json;
use zerocopy::FromZeros;

use super::chain::{self, By};
use super::*;
use serde_json::Value;

use crate::analysis::detection::Write;
use crate::analysis::ledger::{Ledger, Sharing};
use crate::beats::{Beats, Reached};
use crate::scenario::Scenario;
use crate::terms::{IncarnationEnd, ResetCause};

const LENDER: Pid = Pid::new(1, 0);
const SERVER: Pid = Pid::new(2, 0);
const HEIR: Pid = Pid::new(3, 4);
const FRAME: u64 = 9;

fn record(kind: Kind, tick: u32, pid: Pid, [a, b, c]: [u64; 3]) -> Record {
    Record { tick, kind: kind as u16, reserved: 0, pid, a: a as u32, b, c }
}

/// A loan of frame 9 to the server, whose lender is tired of waiting and goes home.
fn loan() -> Vec<Record> {
    vec![
        record(Kind::Start, 0, Pid::NONE, [1, 6, 0]),
        record(Kind::Given, 1, LENDER, [FrameKind::User as u64, FRAME, 0]),
        record(Kind::Epoch, 2, Pid::NONE, [1, 0, 0]),
        record(Kind::Lend, 3, LENDER, [6, FRAME, SERVER.0.into()]),
        record(Kind::Send, 3, LENDER, [2000, SERVER.0.into(), 6]),
        record(Kind::LowWater, 4, Pid::NONE, [3, 8, 0]),
        record(Kind::LoanEnd, 5, LENDER, [6, SERVER.0.into(), 0]),
        record(Kind::Timeout, 5, LENDER, [2000, SERVER.0.into(), 0]),
        record(Kind::Exit, 5, LENDER, [0; 3]),
        record(Kind::Freed, 5, LENDER, [1, FRAME, 2]),
    ]
}

fn teardown(tick: u32) -> Record {
    record(Kind::Teardown, tick, SERVER, [6, 0x60_0000, 0])
}

fn given(tick: u32, to: Pid, source: u64) -> Record {
    record(Kind::Given, tick, to, [FrameKind::User as u64, FRAME, source])
}

fn history(records: &[Record]) -> History {
    let mut history = History::default();
    records.iter().for_each(|record| history.event(record));
    history
}

fn scenario() -> Scenario {
    Scenario::parse("name = \"a\"\nseed = 6\n[[program]]\nprogram = \"ticker\"", "a.toml", None, &[]).unwrap()
}

fn written(seen: u64) -> Write {
    let sharing = Sharing { frame: Frame(FRAME), owner: HEIR, other: SERVER };
    Write { sharing, virt: GuestVirt(0x60_0000), entry: GuestPhys(0x20_0020), found: 8, seen }
}

/// All of a post-mortem.
#[derive(Debug, PartialEq)]
struct PostMortem {
    document: Value,
    text: String,
    short: String,
}

fn examine(records: &[Record], writes: &[Write], beats: &Beats, ended: IncarnationEnd) -> Option<PostMortem> {
    let (scenario, history) = (scenario(), history(records));
    let agents = [0; 3];
    let case = Case {
        scenario: &scenario,
        incarnation: 1,
        tick: 20,
        ended,
        history: &history,
        beats,
        writes,
        agents,
    };
    case.is_due().then(|| PostMortem { document: case.document(), text: case.text(), short: case.short() })
}

fn due(post_mortem: &PostMortem) -> Vec<&str> {
    let all = post_mortem.document["recommendations"].as_array().unwrap();
    let due = all.iter().filter(|advice| advice["due"] == true);
    due.map(|advice| advice["fix"].as_str().unwrap()).collect()
}

#[test]
fn the_first_cause_is_told_with_its_loan_its_death_and_its_epoch() {
    let mut records = loan();
    records.push(given(7, HEIR, 2));
    records.push(given(9, Pid::new(5, 0), 2));
    let post_mortem =
        examine(&records, &[written(12)], &Beats::default(), IncarnationEnd::Reset(ResetCause::Guest))
            .unwrap();
    let cause = &post_mortem.document["first_cause"];
    assert_eq!((&cause["tick"], &cause["frame"], &cause["use"]), (&7.into(), &"0x9".into(), &"user".into()));
    assert_eq!(cause["given_to"]["pid"], "3.4");
    assert_eq!(cause["free_list_empty"], true);
    let loan = &cause["loan"];
    assert_eq!((&loan["lender"]["pid"], &loan["borrower"]["pid"]), (&"1.0".into(), &"2.0".into()));
    assert_eq!(
        json!([loan["loan"], loan["port"], loan["lent_tick"], loan["ended_tick"]]),
        json!([6, 2000, 3, 5])
    );
    assert_eq!(json!([cause["freed"]["epoch"], cause["freed"]["epoch_had_ended"]]), json!([2, false]));
    assert_eq!(json!([cause["death"]["how"], cause["death"]["gave_up_waiting"]]), json!(["exit", true]));
    assert_eq!(cause["write_seen"]["seen_tick"], 12);
    assert_eq!(post_mortem.document["counts"]["reused_under_a_window"], 2);
    assert!(post_mortem.text.contains("under epoch 2, which had not ended"), "{}", post_mortem.text);
    assert!(post_mortem.short.contains("frame 0x9 was given to 3.4 at tick 7, early from quarantine"));
    assert_eq!(due(&post_mortem), ["pager"]);
}

#[test]
fn a_frame_without_a_window_or_of_its_own_lender_is_no_cause() {
    let torn_down = [teardown(6), given(7, HEIR, 2)];
    for end in [&torn_down[..], &[given(7, LENDER, 2)], &[given(7, SERVER, 2)], &[]] {
        let records = [&loan()[..], end].concat();
        // Nothing happened to it, so there is nothing to examine; if it collapsed, it was not for this.
        assert_eq!(examine(&records, &[], &Beats::default(), IncarnationEnd::Lasted), None);
        let post_mortem = examine(&records, &[], &Beats::default(), IncarnationEnd::Hung).unwrap();
        assert!(post_mortem.document["first_cause"].is_null());
        assert!(post_mortem.text.contains("did not begin there"));
        assert_eq!(due(&post_mortem), [""; 0]);
    }
}

#[test]
fn what_the_free_list_gave_after_the_epoch_is_told_as_such() {
    let mut records = loan();
    records.extend([record(Kind::Epoch, 6, Pid::NONE, [2, 1, 0]), given(7, HEIR, 1)]);
    let post_mortem = examine(&records, &[], &Beats::default(), IncarnationEnd::Lasted).unwrap();
    let cause = &post_mortem.document["first_cause"];
    assert_eq!(json!([cause["free_list_empty"], cause["freed"]["epoch_had_ended"]]), json!([false, true]));
    assert!(cause["write_seen"].is_null());
    assert!(
        post_mortem.text.contains("from the free list") && post_mortem.text.contains("No write was seen")
    );
}

#[test]
fn a_crash_hangs_on_a_write_that_came_before_it() {
    let mut records = loan();
    let crash = record(Kind::Fault, 14, HEIR, [14, 0, 0]);
    records.extend([given(7, HEIR, 2), crash, record(Kind::Exit, 15, Pid::new(8, 0), [1, 0, 0])]);
    let frames = |seen| {
        let post_mortem = examine(
            &records,
            &[written(seen)],
            &Beats::default(),
            IncarnationEnd::Reset(ResetCause::Watchdog),
        )
        .unwrap();
        let crashes = post_mortem.document["crashes"].as_array().unwrap().clone();
        assert_eq!(crashes.len(), 2);
        assert_eq!(crashes[0]["given_under_a_window"], json!(["0x9"]));
        assert_eq!(crashes[1]["given_under_a_window"], json!([]));
        crashes[0]["written_by_others"].clone()
    };
    assert_eq!(frames(12), json!(["0x9"]));
    assert_eq!(frames(15), json!([]), "too late to be its reason");
}

#[test]
fn a_tagged_violator_has_not_crashed() {
    let tagged = record(Kind::Tagged, 13, HEIR, [1, 0, 0]);
    let crash = record(Kind::Fault, 14, HEIR, [14, 0, 0]);
    assert_eq!(history(&[tagged, crash]).counts.crashes, 0);
    assert_eq!(history(&[crash]).counts.crashes, 1);
}

#[test]
fn beats_hang_on_a_frame_by_its_number_or_its_owner_and_never_backwards() {
    let mut records = loan();
    records.push(given(7, HEIR, 2));
    let link = |tick, evidence| {
        let mut history = history(&records);
        history.short_since = None;
        chain::link(&history, &Reached { tick, evidence }).map(|(by, reuse)| (by, reuse.tick))
    };
    assert_eq!(link(8, json!({"frames": [{"frame": "0x9"}]})), Some((By::Frame, 7)));
    assert_eq!(link(8, json!({"process": {"pid": "3.4", "name": "x"}})), Some((By::Process, 7)));
    assert_eq!(link(6, json!({"frame": "0x9"})), None, "before the frame was given");
    // Another frame, another generation of the slot, an address, nonsense.
    for evidence in
        [json!({"frame": "0x8"}), json!({"pid": "3.5"}), json!({"rip": "0x9"}), json!({"pid": "a.b"})]
    {
        assert_eq!(link(8, evidence), None);
    }
}

#[test]
fn the_timeline_has_the_beats_of_its_own_incarnation() {
    let mut beats = Beats::default();
    beats.came_up(200, json!({"incarnation": 2}));
    let post_mortem = examine(&loan(), &[], &beats, IncarnationEnd::Reset(ResetCause::Guest)).unwrap();
    assert_eq!(post_mortem.document["timeline"], json!([]));
    beats = Beats::default();
    beats.came_up(15, json!({"incarnation": 1}));
    let post_mortem = examine(&loan(), &[], &beats, IncarnationEnd::Reset(ResetCause::Guest)).unwrap();
    assert_eq!(post_mortem.document["timeline"][0]["beat"], "reset");
}

#[test]
fn orders_count_against_the_monitor_when_memory_is_short() {
    let killed = |order: bool| {
        let mut records = loan();
        let kill = [record(Kind::MonitorKill, 5, LENDER, [9, 0, 0]), record(Kind::Kill, 5, LENDER, [0; 3])];
        records.splice(7..9, kill[usize::from(!order)..].iter().copied());
        records.push(given(7, HEIR, 2));
        examine(&records, &[], &Beats::default(), IncarnationEnd::Lasted).unwrap()
    };
    assert_eq!(due(&killed(true)), ["pager", "monitor"]);
    assert_eq!(killed(true).document["first_cause"]["death"]["how"], "killed-for-the-monitor");
    assert_eq!(due(&killed(false)), ["pager"]);
    assert_eq!(killed(false).document["first_cause"]["death"]["how"], "killed");
}

/// One process that waits for another.
fn waiting(state: State, urgent: u8, peer_state: State, peer_urgent: u8) -> Guest {
    let mut guest = Guest::default();
    guest.info.tick = 30;
    for (pid, state, effective, peer) in
        [(LENDER, state, urgent, SERVER), (SERVER, peer_state, peer_urgent, Pid::NONE)]
    {
        let mut descriptor = Descriptor::new_zeroed();
        (descriptor.pid, descriptor.peer, descriptor.effective) = (pid, peer, effective);
        (descriptor.state, descriptor.since) = (state as u8, 10);
        descriptor.name[0] = b'n';
        guest.processes.push(Process { frame: Frame(0), descriptor });
    }
    guest
}

#[test]
fn an_inversion_is_an_urgent_wait_for_somebody_who_is_less_so_and_does_not_run() {
    let inversions = |guest: &Guest| {
        let mut history = History::default();
        history.audit(guest);
        assert_eq!(history.name(LENDER), Some("n"));
        (history.counts.inversions, history.counts.longest_inversion)
    };
    assert_eq!(inversions(&waiting(State::AwaitingReply, 2, State::Ready, 5)), (1, 20));
    assert_eq!(inversions(&waiting(State::Sending, 2, State::Ready, 5)), (1, 20));
    assert_eq!(inversions(&waiting(State::AwaitingReply, 2, State::Ready, 2)), (0, 0));
    assert_eq!(inversions(&waiting(State::AwaitingReply, 2, State::Running, 5)), (0, 0));
    assert_eq!(inversions(&waiting(State::Sleeping, 2, State::Ready, 5)), (0, 0));
}

proptest! {
    /// Each time a frame is given, the history and the ledger know the same windows to be wrong.
    #[test]
    fn the_account_and_the_ledger_agree(
        records in prop::collection::vec((0..4usize, 1..5usize, 0..4u64, 1..5u64, 0..16u64), 0..60),
    ) {
        let (mut history, mut ledger) = (History::default(), Ledger::default());
        for (tick, (what, slot, frame, other, number)) in (1..).zip(&records) {
            let kind = [Kind::Given, Kind::Freed, Kind::Lend, Kind::Teardown][*what];
            let (pid, other) = (Pid::new(*slot, 0), Pid::new(*other as usize, 0));
            let c = if kind == Kind::Lend { u64::from(other.0) } else { number % 3 };
            // A number of a loan is used once.
            let a = if kind == Kind::Lend { tick.into() } else { *number };
            let record = record(kind, tick, pid, [a, *frame, c]);
            let before = history.reuses.len();
            history.event(&record);
            ledger.apply(&record);
            if kind == Kind::Given {
                let new: BTreeSet<_> = history.reuses[before..].iter().map(|reuse| reuse.window.borrower).collect();
                let standing = |other: &Pid| {
                    ledger.since(&Sharing { frame: Frame(*frame), owner: pid, other: *other }).is_some()
                };
                let wrong: BTreeSet<_> = (1..5).map(|slot| Pid::new(slot, 0)).filter(standing).collect();
                prop_assert_eq!(new, wrong);
            }
        }
    }

    #[test]
    fn nonsense_is_survived_and_told_the_same_each_time(
        records in prop::collection::vec((0..40u16, 0..6u32, any::<(u32, u32)>(), 0..6u64, any::<u64>()), 0..60),
    ) {
        let record = |(kind, pid, (tick, a), b, c): &(u16, u32, (u32, u32), u64, u64)| Record {
            tick: *tick, kind: *kind, reserved: 0, pid: Pid(*pid), a: *a % 8, b: *b, c: *c,
        };
        let records: Vec<_> = records.iter().map(record).collect();
        let run = || examine(&records, &[written(9)], &Beats::default(), IncarnationEnd::Reset(ResetCause::Processor));
        prop_assert_eq!(run(), run());
        prop_assert!(run().unwrap().text.lines().all(|line| line.len() <= 120));
    }
}
