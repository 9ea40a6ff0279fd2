//! Digests made by hand, and the class that each must have.

use super::*;
use crate::faults::digest::{Account, Left};
use abi::Pid;
use abi::trace::{Kind, Record};
use proptest::prelude::*;

fn record(kind: Kind, a: u32) -> Record {
    Record { kind: kind as u16, pid: Pid::new(3, 1), a, ..Record::default() }
}

/// A run with these records, and what it left: the console, memory, standing changes.
fn run(outcome: Outcome, kinds: &[(Kind, u32)], left: (u8, u8, u32)) -> Digest {
    let mut account = Account::default();
    account.record(&record(Kind::Start, 1));
    for (kind, a) in kinds {
        account.record(&record(*kind, *a));
    }
    account.record(&Record { tick: 9, ..record(Kind::End, 0) });
    let (console, memory, standing) = left;
    let left =
        Left { console: [console; 32], memory: Some([memory; 32]), standing, put_back: PutBack::Snapshot };
    account.finish(outcome, left)
}

const CLEAN: (u8, u8, u32) = (0, 0, 0);

fn golden() -> Digest {
    run(Outcome::Healthy, &[(Kind::Send, 7), (Kind::Pet, 0)], CLEAN)
}

fn class(faulty: &Digest) -> Outcome {
    classify(&golden(), faulty).class
}

#[test]
fn what_leaves_nothing_is_masked_and_what_stays_is_latent() {
    let story = [(Kind::Send, 7), (Kind::FaultInjected, 0), (Kind::Pet, 0)];
    assert_eq!(class(&run(Outcome::Healthy, &story, CLEAN)), Outcome::Masked);
    assert_eq!(class(&run(Outcome::Healthy, &story, (0, 1, 0))), Outcome::Latent);
    assert_eq!(class(&run(Outcome::Healthy, &story, (0, 0, 1))), Outcome::Latent);
    assert_eq!(
        class(&run(Outcome::Healthy, &story, (1, 0, 0))),
        Outcome::Corrupted,
        "nobody noticed what was printed"
    );
    let other = [(Kind::Send, 7), (Kind::FaultInjected, 0), (Kind::Send, 7), (Kind::Pet, 0)];
    assert_eq!(
        class(&run(Outcome::Healthy, &other, (1, 1, 0))),
        Outcome::Masked,
        "time passed in another way"
    );
    assert_eq!(class(&run(Outcome::Healthy, &other, (1, 1, 1))), Outcome::Latent);
}

#[test]
fn damage_is_silent_only_if_nobody_noticed_before() {
    let silent = [(Kind::Exit, 1), (Kind::Fault, 14)];
    assert_eq!(class(&run(Outcome::Corrupted, &silent, CLEAN)), Outcome::Corrupted);
    let noticed = [(Kind::Fault, 14), (Kind::Exit, 1)];
    let effect = classify(&golden(), &run(Outcome::Corrupted, &noticed, CLEAN));
    assert_eq!((effect.class, effect.noticed_by), (Outcome::Detected, vec![Watcher::Processor]));
    let violator = [(Kind::Tagged, 1), (Kind::Exit, 1)];
    assert_eq!(class(&run(Outcome::Disturbed, &violator, CLEAN)), Outcome::Detected);
    assert_eq!(class(&run(Outcome::Healthy, &[(Kind::Exit, 0)], CLEAN)), Outcome::Masked);
}

#[test]
fn everyone_who_can_notice_is_named() {
    for (kind, watcher) in [
        (Kind::LeakFound, Watcher::Audit),
        (Kind::Blind, Watcher::Audit),
        (Kind::Damaged, Watcher::Network),
        (Kind::MonitorRestart, Watcher::Monitor),
        (Kind::Fault, Watcher::Processor),
        (Kind::Tagged, Watcher::Agents),
    ] {
        let effect = classify(&golden(), &run(Outcome::Disturbed, &[(kind, 0)], CLEAN));
        assert_eq!((effect.class, effect.noticed_by), (Outcome::Detected, vec![watcher]), "{kind:?}");
    }
}

#[test]
fn who_brought_it_back_is_told() {
    for (records, by) in [
        (&[(Kind::Expired, 1), (Kind::Nmi, 0), (Kind::Verdict, 1), (Kind::Reset, 1)][..], Reset::NmiHandler),
        (&[(Kind::Expired, 2), (Kind::Reset, 2)], Reset::Watchdog),
        (&[(Kind::Reset, 3)], Reset::Vmm),
        (&[(Kind::Reset, 1)], Reset::Guest),
    ] {
        let effect = classify(&golden(), &run(Outcome::Recovered, records, CLEAN));
        let back = (effect.recovered_by, effect.put_back_by);
        assert_eq!((effect.class, back), (Outcome::Recovered, (Some(by), Some(PutBack::Snapshot))));
    }
    let survived = [(Kind::Expired, 1), (Kind::Nmi, 0), (Kind::Verdict, 0), (Kind::Pet, 0)];
    let effect = classify(&golden(), &run(Outcome::Healthy, &survived, CLEAN));
    assert_eq!((effect.class, effect.recovered_by), (Outcome::Recovered, Some(Reset::NmiHandler)));
    assert_eq!(effect.put_back_by, None, "it went on as it was");
    let lost = [(Kind::Expired, 1), (Kind::Nmi, 0)];
    assert_eq!(class(&run(Outcome::Healthy, &lost, CLEAN)), Outcome::Hung);
    let busy = [(Kind::Expired, 1), (Kind::Send, 7)];
    assert_eq!(
        class(&run(Outcome::Healthy, &busy, CLEAN)),
        Outcome::Detected,
        "its time is over, and it goes on"
    );
    assert_eq!(class(&run(Outcome::Hung, &[], CLEAN)), Outcome::Hung);
    assert_eq!(class(&run(Outcome::Crashed, &[(Kind::Reset, 3)], CLEAN)), Outcome::Crashed);
    assert_eq!(class(&run(Outcome::Corrupted, &[(Kind::Panic, 0)], CLEAN)), Outcome::Crashed);
}

#[test]
fn what_the_golden_run_did_as_well_is_no_effect() {
    let story = [(Kind::LeakFound, 0), (Kind::Exit, 1), (Kind::Expired, 1), (Kind::Reset, 2)];
    let golden = run(Outcome::Recovered, &story, CLEAN);
    assert_eq!(classify(&golden, &golden).class, Outcome::Masked);
    let more = [&story[..1], &[(Kind::LeakFound, 0)], &story[1..]].concat();
    let effect = classify(&golden, &run(Outcome::Recovered, &more, CLEAN));
    assert_eq!((effect.class, effect.noticed_by), (Outcome::Detected, vec![Watcher::Audit]));
}

#[test]
fn a_life_after_a_reset_is_held_against_the_golden_runs_beginning() {
    let lives = |after: u32| {
        let mut account = Account::default();
        for record in [record(Kind::Start, 1), record(Kind::Send, 1)] {
            account.record(&record);
        }
        account.lasted();
        for record in [record(Kind::Reset, 2), record(Kind::Start, 2), record(Kind::Send, after)] {
            account.record(&record);
        }
        account.lasted();
        account.finish(Outcome::Recovered, Left::default())
    };
    assert_eq!(classify(&lives(1), &lives(1)).residue, Some(false));
    assert_eq!(classify(&lives(1), &lives(2)).residue, Some(true));
    assert_eq!(classify(&golden(), &lives(1)).residue, None, "the golden run was too short");
}

proptest! {
    #[test]
    fn a_run_held_against_itself_is_masked(records in prop::collection::vec((0_usize..Kind::ALL.len(), 0_u32..4), 0..60)) {
        let kinds: Vec<_> = records.into_iter().map(|(kind, a)| (Kind::ALL[kind], a)).collect();
        let digest = run(Outcome::Corrupted, &kinds, CLEAN);
        prop_assert_eq!(classify(&digest, &digest).class, Outcome::Masked);
    }
}
