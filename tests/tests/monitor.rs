//! The monitor: which processes it has killed, which services it has restarted, and when it holds back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tests::{SERVED, events, hash, run_json, written};

/// A store that never answers, front servers that wait for it, and clients that wait for them.
const WEDGED: &str = r#"
name = "wedged"
[vm]
max-ticks = 160
[load]
people = 6
patience-ticks = 0
work-ticks = 1000000
[monitor]
period-ticks = 8
missed-before-restart = 6
max-load = 1
"#;

/// Batch workers that never sleep, to be added to the above.
const BUSY: &str = r#"
[[program]]
program = "batch"
priority = 5
argument = 0
[[program]]
program = "batch"
priority = 5
argument = 0
[[program]]
program = "batch"
priority = 5
argument = 0
[[program]]
program = "batch"
priority = 5
argument = 0
"#;

fn wedged() -> (TempDir, PathBuf) {
    written(&format!("{WEDGED}{SERVED}{BUSY}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn processes_that_wait_for_a_wedged_server_are_killed_and_services_restarted() {
    let (home, path) = wedged();
    let out = home.path().join("run");
    let (outcome, verdict) = run_json(&path, &["--out", out.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(verdict["outcome"], "disturbed", "nothing was damaged, but it was not healthy either");
    assert_eq!(verdict["crashes"], 0, "a killed process has not crashed");

    let events = events(&out);
    let of = |kind: &str| events.iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>();
    let uids: BTreeMap<_, _> =
        of("spawn").iter().map(|event| (event["pid"].as_str(), number(&event["uid"]))).collect();

    // Each order is carried out in the tick in which it was given.
    let kills = of("monitor-kill");
    assert_eq!(number(&verdict["monitor"]["kills"]), kills.len() as u64);
    let done = of("kill");
    assert_eq!(done.len(), kills.len());
    for order in &kills {
        assert!(number(&order["waited"]) > 48, "{order}");
        let carried_out = done.iter().any(|kill| {
            kill["by"].is_null()
                && kill["pid"] == order["pid"]
                && kill["tick"] == order["tick"]
                && number(&kill["seq"]) > number(&order["seq"])
        });
        assert!(carried_out, "{order}");
    }
    let victims: Vec<_> = kills.iter().map(|order| uids[&order["pid"].as_str()]).collect();
    assert!(victims.contains(&100) && victims.contains(&1000), "servers and clients: {victims:?}");
    assert!(!victims.contains(&0), "the daemons never wait for others: {victims:?}");

    let (orders, restarts) = (of("monitor-restart"), of("restarted"));
    assert!(!restarts.is_empty());
    assert_eq!(number(&verdict["monitor"]["restarts"]), orders.len() as u64);
    assert_eq!(number(&verdict["subsystems"]["restarts"]), restarts.len() as u64);
    for order in &orders {
        let done = restarts.iter().any(|done| {
            number(&done["seq"]) > number(&order["seq"])
                && done["service"] == order["service"]
                && done["before"] == order["pid"]
        });
        assert!(done, "{order} was not carried out");
    }

    let (_, again) = run_json(&path, &[]);
    assert_eq!(hash(&again), hash(&verdict), "orders are part of the trace, and as repeatable");
}

#[test]
fn a_mended_monitor_holds_back_under_load() {
    let (_home, path) = wedged();
    let arguments = ["--set", "fixes.monitor=true"];
    let (outcome, verdict) = run_json(&path, &arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(verdict["outcome"], "healthy");
    let monitor = &verdict["monitor"];
    assert_eq!((number(&monitor["kills"]), number(&monitor["restarts"])), (0, 0));
    assert!(number(&monitor["audits"]) < number(&verdict["ticks"]) / 4, "audits are rare: {monitor}");

    // The same monitor, where the load does not count as high.
    let (_, verdict) = run_json(&path, &["--set", "fixes.monitor=true", "--set", "monitor.max-load=200"]);
    assert!(number(&verdict["monitor"]["kills"]) > 0);
    assert_eq!(verdict["monitor"]["audits"], verdict["ticks"], "a process always runs, so time never jumps");
}

#[test]
fn without_a_monitor_no_waiting_process_is_killed() {
    let (_home, path) = wedged();
    let (outcome, verdict) = run_json(&path, &["--set", "monitor.enabled=false"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(verdict["outcome"], "healthy");
    assert_eq!(number(&verdict["monitor"]["kills"]), 0);
}
