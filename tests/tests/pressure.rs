//! The kernel under shortage. Without memory it ends the process with the most. Without processor time, a
//! process that an urgent one waits for inherits its priority. Both are checked by the trace alone.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::{Told, check_hash, hash, run_text};

/// More hogs than there is memory for, and processes that check their own memory.
const PRESSED: &str = r#"
name = "pressed"
vm = { memory-mib = 5, max-ticks = 250 }
monitor = { enabled = false }
[[program]]
program = "watchdogd"
uid = 0
priority = 1
[[program]]
program = "batch"
count = 3
priority = 4
argument = 3
[[program]]
program = "hog"
count = 4
priority = 5
argument = 500
"#;

/// A store that sleeps before each answer, less urgent than two processes that never sleep, and a front
/// server that is more urgent than they are.
const INVERTED: &str = r#"
name = "inverted"
vm = { max-ticks = 200 }
load = { people = 2, patience-ticks = 0, work-ticks = 3 }
monitor = { enabled = false }
[[program]]
program = "watchdogd"
uid = 0
priority = 1
[[program]]
program = "nursery"
uid = 0
priority = 3
argument = "client"
[[program]]
program = "store"
uid = 100
priority = 6
ports = [2100]
[[program]]
program = "front"
uid = 100
priority = 3
ports = [2000]
[[program]]
program = "batch"
count = 2
priority = 5
argument = 0
"#;

/// Runs a scenario that expects nothing.
fn run(scenario: &str, arguments: &[&str]) -> Told {
    let told = run_text(scenario, arguments);
    assert_eq!(told.outcome.status, Some(0), "{:?}", told.outcome);
    told
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or("")
}

#[test]
fn without_memory_the_process_with_the_most_is_ended_and_no_other_is_harmed() {
    // The frame kind of descriptors, which do not count as memory of their process.
    const DESCRIPTOR: u64 = 6;
    let Told { verdict, events, console, .. } = run(PRESSED, &[]);
    let mut people: BTreeMap<&str, u64> = BTreeMap::new();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ended = Vec::new();
    for (nth, event) in events.iter().enumerate() {
        let (pid, frame) = (text(event, "pid"), text(event, "frame"));
        match text(event, "kind") {
            "spawn" if event["uid"] != 0 => drop(people.insert(pid, 0)),
            "given" if event["use"] != DESCRIPTOR => drop(owners.insert(frame, pid)),
            "freed" => drop(owners.remove(frame)),
            "exit" | "fault" | "kill" => drop(people.remove(pid)),
            "out-of-memory" => {
                let has = |pid: &str| owners.values().filter(|owner| **owner == pid).count() as u64;
                people.iter_mut().for_each(|(pid, frames)| *frames = has(pid));
                let most = *people.values().max().unwrap();
                assert_eq!(
                    (event["frames"].as_u64(), people.get(pid)),
                    (Some(most), Some(&most)),
                    "{event} {people:?}"
                );
                people.remove(pid);
                // All that it had comes back before anything is given out, and the process that asked gets
                // some of it.
                let next = events[nth..].iter().position(|event| event["kind"] == "given").unwrap();
                let back = events[nth..nth + next].iter().filter(|event| event["kind"] == "freed");
                assert!(
                    back.clone().all(|event| event["pid"] == pid) && back.count() as u64 >= most,
                    "{event}"
                );
                let asked = text(event, "asked-by");
                assert!(asked == pid || events[nth + next]["pid"] == asked, "{}", events[nth + next]);
                ended.push(pid);
            }
            _ => {}
        }
    }
    assert!(!ended.is_empty(), "{console}");
    assert_eq!(verdict["subsystems"]["out_of_memory"], ended.len());
    // A process that finds its memory changed prints a line and exits with a status.
    assert_eq!((&verdict["crashes"], &verdict["outcome"]), (&0.into(), &"healthy".into()), "{console}");
    check_hash("pressed", &hash(&verdict));
}

#[test]
fn a_server_inherits_the_priority_of_its_client_until_it_has_answered() {
    let lookups = |events: &[Value]| {
        let sent =
            events.iter().enumerate().filter(|(_, event)| event["kind"] == "send" && event["port"] == 2100);
        sent.map(|(nth, _)| nth).collect::<Vec<_>>()
    };
    // Two other processes are always ready and more urgent. Without the fix, the store never gets to open its
    // port.
    let Told { events, console, .. } = run(INVERTED, &[]);
    assert_eq!(lookups(&events), [0; 0], "{console}");
    assert!(!events.iter().any(|event| event["kind"] == "boosted"));

    let Told { verdict, events, console, .. } = run(INVERTED, &["--set", "fixes.priorities=true"]);
    let lookups = lookups(&events);
    assert!(lookups.len() > 3, "{console}");
    for sent in lookups {
        let (front, store) = (text(&events[sent], "pid"), text(&events[sent], "to"));
        let boosts = |event: &&Value| event["kind"] == "boosted" && event["pid"] == store;
        let lent = events[..sent].iter().rev().find(boosts).expect("a priority is lent with the question");
        assert_eq!((&lent["effective"], text(lent, "by")), (&3.into(), front), "{lent}");
        let rest = &events[sent..];
        let Some(reply) = rest.iter().position(|event| event["kind"] == "reply" && event["pid"] == store)
        else {
            continue; // The run ended before.
        };
        let (asked, answered) = (&rest[0]["tick"], &rest[reply]["tick"]);
        assert!(
            answered.as_u64().unwrap() - asked.as_u64().unwrap() <= 4,
            "three ticks' sleep, and none of waiting"
        );
        assert!(!rest[..reply].iter().any(|event| boosts(&event)), "it keeps it until it has answered");
        let back = rest[reply..].iter().find(boosts).expect("and then gives it back");
        assert_eq!((&back["effective"], text(back, "by")), (&6.into(), front), "{back}");
    }
    assert_eq!(verdict["outcome"], "healthy", "{console}");
    check_hash("inverted-mended", &hash(&verdict));
}
