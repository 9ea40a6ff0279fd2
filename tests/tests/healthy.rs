//! The light load of `healthy.toml`: every subsystem works, and none reports trouble.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::{events, run_json, scenario};

/// Counters that a light load must raise.
const WORK: &[&str] = &[
    "syscalls",
    "refusals",
    "messages",
    "loans",
    "switches",
    "handoffs",
    "spawns",
    "exits",
    "pets",
    "bursts",
    "misjudged",
    "acknowledged",
    "faults",
    "transfers",
    "transferred",
    "datagrams",
    "signals",
    "phones",
    "calls_v1",
    "calls_v2",
    "taps",
    "tagged",
    "granted",
    "withheld",
    "gated",
    "examined",
];

/// Counters that must stay 0.
const TROUBLE: &[&str] = &["crashes", "damaged", "early_reuses", "out_of_memory", "restarts"];

/// Counters that may be 0 or not.
const EITHER: &[&str] = &["timeouts", "missed", "low_water"];

#[test]
fn under_a_light_load_every_subsystem_works_and_none_fails() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    // The whole run: only late in it a process waits at the gateway.
    let arguments = ["--out", out.to_str().unwrap()];
    let (outcome, verdict) = run_json(&scenario("healthy.toml"), &arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(verdict["outcome"], "healthy");

    let kernel = verdict["subsystems"].as_object().expect("the verdict has the kernel's counters");
    for (name, count) in kernel {
        let count = count.as_u64().unwrap_or_else(|| panic!("{name} is no number"));
        let name = name.as_str();
        match (WORK.contains(&name), TROUBLE.contains(&name), EITHER.contains(&name)) {
            (true, false, false) => assert!(count > 0, "nothing was counted in {name}: {kernel:#?}"),
            (false, true, false) => assert_eq!(count, 0, "{name}: {kernel:#?}"),
            (false, false, true) => {}
            _ => panic!("{name} belongs into exactly one of the lists"),
        }
    }
    assert_eq!(kernel.len(), WORK.len() + TROUBLE.len() + EITHER.len(), "a counter is gone: {kernel:#?}");

    assert_eq!((&verdict["leaks"]["detected"], &verdict["leaks"]["actual"]), (&0.into(), &0.into()));
    assert_eq!(
        (&verdict["hidden_spaces"]["found"], &verdict["kernel_crashes"]),
        (&0.into(), &Vec::<u8>::new().into())
    );
    assert_eq!((&verdict["monitor"]["restarts"], &verdict["monitor"]["kills"]), (&0.into(), &0.into()));
    assert_eq!((&verdict["damaged"], &verdict["crashes"]), (&0.into(), &0.into()));
    let agents = &verdict["agents"];
    assert!(agents["tagged"].as_u64().is_some_and(|tagged| tagged > 0), "{agents}");
    assert_eq!(agents["true_positives"], agents["tagged"]);
    assert_eq!(agents["false_positives"], 0);
    assert_eq!(kernel["tagged"], agents["tagged"], "the kernel counts what the trace says");

    assert!(!out.join("post-mortem.json").exists(), "there is nothing to examine");
    let events = events(&out);
    assert_eq!(
        (&events.last().unwrap()["kind"], &events.last().unwrap()["tick"]),
        (&"end".into(), &verdict["ticks"])
    );
    // The Agent for messages is a server as well, and one user server holds several loans at once.
    let agent = events.iter().find(|event| event["kind"] == "attached" && event["class"] == 0).unwrap();
    assert!(most_loans_at_once(&events, &agent["pid"]) > 0);
    let owner = |port: u64| {
        &events.iter().find(|event| event["kind"] == "send" && event["port"] == port).unwrap()["to"]
    };
    assert!(most_loans_at_once(&events, owner(2002)) > 1);
}

/// The largest number of loans that one process held at the same time.
fn most_loans_at_once(events: &[Value], borrower: &Value) -> usize {
    let (mut open, mut most) = (BTreeSet::new(), 0);
    for event in events.iter().filter(|event| event["borrower"] == *borrower) {
        match event["kind"].as_str() {
            Some("lend") => drop(open.insert(event["loan"].as_u64())),
            Some("loan-end") => drop(open.remove(&event["loan"].as_u64())),
            _ => {}
        }
        most = most.max(open.len());
    }
    most
}
