//! Warm starts, and snapshots as files: whatever a guest starts from, its events are the same.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::{Outcome, architect, hash, run, run_json, scenario};

/// Runs a scenario into a folder, and returns everything that it left there except the time it took.
fn left(name: &str, arguments: &[&str]) -> (Value, String, String) {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let arguments = [&["--out", out.to_str().unwrap()], arguments].concat();
    let (outcome, mut verdict) = run_json(&scenario(name), &arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    verdict.as_object_mut().unwrap().remove("wall_ms");
    verdict.as_object_mut().unwrap().remove("stolen_ms");
    let read = |file: &str| fs::read_to_string(out.join(file)).unwrap();
    (verdict, read("events.jsonl"), read("console.log"))
}

#[test]
fn a_warm_run_is_a_cold_run_to_the_last_byte_also_after_a_reset() {
    let [warm, cold] = ["warm", "cold"]
        .map(|start| left("demo-leak.toml", &["--set", &format!("vm.start={start}"), "--seed", "4"]));
    assert_eq!(warm.0["incarnations"], 2);
    assert_eq!(warm, cold);
}

#[test]
fn sixty_four_guests_at_once_start_from_one_snapshot() {
    let short = ["--set", "vm.max-ticks=20"];
    let (_, alone) = run_json(&scenario("healthy.toml"), &[&short[..], &["--set", "vm.start=cold"]].concat());
    let (outcome, document) = run_json(&scenario("healthy.toml"), &[&short[..], &["--vms", "64"]].concat());
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let vms = document["vms"].as_array().unwrap();
    assert_eq!(vms.len(), 64);
    assert!(vms.iter().all(|vm| hash(&vm["verdict"]) == hash(&alone)), "{}", document["trace_hashes"]);
}

/// A run of some ticks with these arguments.
fn short(arguments: &[&str]) -> Outcome {
    let ticks = ["--json", "--set", "vm.max-ticks=20"];
    run(architect().arg("run").arg(scenario("healthy.toml")).args(ticks).args(arguments))
}

fn hash_of(outcome: &Outcome) -> String {
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    hash(&serde_json::from_str(&outcome.stdout).unwrap())
}

#[test]
fn a_snapshot_in_a_file_serves_any_seed_and_load() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("booted");
    let file = path.to_str().unwrap();
    let saved = hash_of(&short(&["--save-snapshot", file]));
    assert_eq!(saved, hash_of(&short(&[])), "saving changes nothing");
    for other in [&["--seed", "9"][..], &["--set", "load.people=3"], &["--set", "fixes.pager=true"], &[]] {
        let from = hash_of(&short(&[other, &["--from", file]].concat()));
        assert_eq!(from, hash_of(&short(&[other, &["--set", "vm.start=cold"]].concat())), "{other:?}");
    }
    let once = fs::read(&path).unwrap();
    hash_of(&short(&["--from", file, "--vms", "1", "--seed", "2"]));
    assert_eq!(once, fs::read(&path).unwrap(), "guests write nothing there");
}

/// Asserts that an unusable snapshot is refused with its path.
fn refused(path: &Path, arguments: &[&str], part: &str) {
    let outcome = short(&[&["--from", path.to_str().unwrap()], arguments].concat());
    assert_eq!(outcome.status, Some(2), "{part}: {outcome:?}");
    assert!(outcome.stderr.contains(part), "{part} not in {}", outcome.stderr);
    assert!(outcome.stderr.contains(path.to_str().unwrap()), "{}", outcome.stderr);
    assert!(outcome.stdout.is_empty());
}

#[test]
fn an_incomplete_or_foreign_snapshot_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("booted");
    hash_of(&short(&["--save-snapshot", path.to_str().unwrap()]));
    let good = fs::read(&path).unwrap();
    let broken = home.path().join("broken");
    let with = |bytes: &[u8]| fs::write(&broken, bytes).unwrap();

    for len in [7, 8, 40, 79, 80, 4096, good.len() / 2, good.len() - 1] {
        with(&good[..len]);
        refused(&broken, &[], "truncated");
    }
    for at in [12, 16, 50, 100, 5000, good.len() / 2] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        with(&bytes);
        refused(&broken, &[], "corrupted");
    }
    let mut bytes = good.clone();
    bytes[8] += 1;
    with(&bytes);
    refused(&broken, &[], "version 2");
    for other in [&b""[..], b"\x7fELF", b"hello, world"] {
        with(other);
        refused(&broken, &[], "this is not a snapshot");
    }
    refused(&path, &["--set", "vm.memory-mib=24"], "32 MiB");
    refused(home.path(), &[], "cannot read");
    refused(&home.path().join("nowhere"), &[], "cannot read");
}

#[test]
fn an_unwritable_snapshot_is_refused_before_the_run() {
    let outcome = short(&["--save-snapshot", "/nowhere/at/all"]);
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("--save-snapshot") && outcome.stdout.is_empty());
}
