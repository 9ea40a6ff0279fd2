//! Several guests at once, and guests with a clock of real time.

use std::time::Duration;

use serde_json::Value;
use tests::{architect, check_hash, events, hash, run, run_json, scenario, wait};

const SHORT: [&str; 2] = ["--set", "vm.max-ticks=200"];

#[test]
fn guests_side_by_side_have_the_events_of_one_alone() {
    let (_, alone) = run_json(&scenario("healthy.toml"), &SHORT);
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let arguments = [&SHORT[..], &["--vms", "4", "--out", out.to_str().unwrap()]].concat();
    let (outcome, document) = run_json(&scenario("healthy.toml"), &arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let written = std::fs::read_to_string(out.join("verdict.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), document);

    let vms = document["vms"].as_array().unwrap();
    assert_eq!(vms.len(), 4);
    for (nth, vm) in vms.iter().enumerate() {
        let name = format!("vm-{nth:02}");
        assert_eq!((vm["vm"].as_str(), vm["status"].as_u64()), (Some(&*name), Some(0)));
        assert_eq!(hash(&vm["verdict"]), hash(&alone), "{name}");
        let folder = out.join(name);
        let own = std::fs::read_to_string(folder.join("verdict.json")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&own).unwrap(), vm["verdict"]);
        assert_eq!(events(&folder).len() as u64, alone["events"].as_u64().unwrap());
        assert!(std::fs::read_to_string(folder.join("console.log")).unwrap().contains("matrix: up"));
    }
    assert_eq!(document["trace_hashes"].as_array().unwrap().len(), 1);
}

#[test]
fn a_hundred_guests_of_one_seed_have_the_same_events() {
    let arguments = ["--vms", "100", "--set", "vm.max-ticks=40"];
    let (outcome, document) = run_json(&scenario("healthy.toml"), &arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let vms = document["vms"].as_array().unwrap();
    assert_eq!(vms.len(), 100);
    let first = hash(&vms[0]["verdict"]);
    assert!(vms.iter().all(|vm| hash(&vm["verdict"]) == first), "{}", document["trace_hashes"]);
    check_hash("healthy-40", &first);
}

#[test]
fn the_worst_guest_decides_and_is_named() {
    let arguments = ["--set", "vm.max-ticks=20", "--set", "vm.vms=2", "--set", "expect.outcome=hung"];
    let outcome = run(architect().arg("run").arg(scenario("healthy.toml")).args(arguments));
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    for part in ["vm-00", "vm-01", "healthy"] {
        assert!(outcome.stdout.contains(part), "{part} not in {}", outcome.stdout);
    }
    assert!(outcome.stderr.contains("vm-01: the outcome is healthy, not hung"), "{}", outcome.stderr);
}

#[test]
fn a_number_of_guests_that_makes_no_sense_is_refused() {
    for vms in ["0", "257", "-1", "many"] {
        let outcome = run(architect().arg("run").arg(scenario("healthy.toml")).args(["--vms", vms]));
        assert_eq!(outcome.status, Some(2), "{vms}: {outcome:?}");
        assert!(outcome.stderr.contains("vms"), "{}", outcome.stderr);
    }
}

#[test]
fn a_guest_by_real_time_is_healthy_and_has_no_hash() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let arguments = ["--set", "vm.clock=apic", "--set", "vm.max-ticks=300", "--out", out.to_str().unwrap()];
    let (outcome, verdict) = run_json(&scenario("healthy.toml"), &arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!((verdict["clock"].as_str(), verdict["outcome"].as_str()), (Some("apic"), Some("healthy")));
    assert!(verdict["trace_hash"].is_null());
    assert_eq!(verdict["repeatable"], false);
    assert!(verdict["ticks"].as_u64().unwrap() >= 300);
    assert!(verdict["monitor"]["audits"].as_u64().unwrap() > 0);
    let events = events(&out);
    assert!(events.iter().all(|event| event["real_time"] == true));
    assert!(events.iter().any(|event| event["kind"] == "send"), "processes send messages");
}

#[test]
fn guests_ended_by_a_signal_leave_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let arguments = ["--vms", "2", "--set", "vm.max-ticks=1000000", "--out", out.to_str().unwrap()];
    let mut command = architect();
    command.arg("run").arg(scenario("healthy.toml")).args(arguments);
    let mut child = command.spawn().unwrap();
    // Once a guest has written to its console, signals are handled.
    let written =
        |vm| std::fs::metadata(out.join(format!("vm-0{vm}/console.log"))).is_ok_and(|f| f.len() > 0);
    let running = || (0..2).all(written);
    while !running() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(wait(&mut child).code(), Some(130));
    assert!(!out.exists(), "neither a guest's folder nor the one above");
}
