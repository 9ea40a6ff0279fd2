//! `architect doctor` on a host that can run guests.

use tests::{architect, run};

#[test]
fn the_doctor_finds_this_host_fit() {
    let outcome = run(architect().arg("doctor"));
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("Guests can run on this host."), "{outcome:?}");
}

#[test]
fn the_doctors_json_is_one_document() {
    let outcome = run(architect().args(["doctor", "--json"]));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""), "{outcome:?}");
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&report["version"], &report["usable"]), (&1.into(), &true.into()));
    assert!(report["backend"].as_str().unwrap().starts_with("kvm"));
    assert!(report["checks"].as_array().unwrap().len() >= 5);
}
