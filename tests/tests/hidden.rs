//! A process that removes itself from the process table is found by its page tables, and runs on.

use serde_json::Value;
use tests::{check_hash, events, hash, run_json, scenario};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value} is no text"))
}

#[test]
fn a_process_that_no_table_names_is_found_by_its_page_tables() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("run");
    let (outcome, verdict) = run_json(&scenario("hidden-space.toml"), &["--out", out.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!((&verdict["outcome"], &verdict["crashes"]), (&"corrupted".into(), &0.into()));
    assert_eq!(verdict["leaks"]["detected"], 0, "it keeps to itself");
    assert_eq!(verdict["hidden_spaces"]["found"], 1, "{}", verdict["hidden_spaces"]);
    let space = &verdict["hidden_spaces"]["spaces"][0];

    // The trace says which process has this root, and when its phone call ended.
    let events = events(&out);
    let owner = text(space, "owner");
    let of = |kind: &'static str| {
        events.iter().filter(move |event| event["kind"] == kind && event["pid"] == owner).collect::<Vec<_>>()
    };
    assert_eq!(text(of("spawn")[0], "root"), text(space, "root"));
    assert_eq!((text(space, "name"), text(space, "kind")), ("lurker", "page-table"));
    let [_, hung_up] = of("phone")[..] else { panic!("one call") };
    let tick = |event: &Value| event["tick"].as_u64().expect("a tick");
    let found = of("hidden-space");
    assert_eq!((found.len(), tick(space)), (1, tick(found[0])));
    assert!((0..=8).contains(&(tick(space) - tick(hung_up))), "found within a scan's time: {space}");

    // It lived on: it got pages at the first touch, and it never ended.
    let after = |event: &&&Value| event["seq"].as_u64() > hung_up["seq"].as_u64();
    assert!(of("given").iter().filter(after).count() >= 3);
    assert!(of("exit").is_empty() && of("fault").is_empty() && of("kill").is_empty());
    assert!(space["pages"].as_u64() >= Some(5), "text, data and stack: {space}");
    for mapping in space["mappings"].as_array().expect("some of what it maps") {
        assert!(["program", "user"].contains(&text(mapping, "kind")), "{mapping}");
    }
    check_hash("hidden-space", &hash(&verdict));
}

#[test]
fn without_scans_nothing_is_found_and_nothing_crashes() {
    let arguments = ["--set", "audit.roots-every=0", "--set", "expect.outcome=healthy"];
    let (outcome, verdict) = run_json(&scenario("hidden-space.toml"), &arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(verdict["hidden_spaces"], serde_json::json!({"found": 0, "spaces": []}));
    let alive: Vec<_> = ["crashes", "damaged"].iter().map(|key| verdict[*key].clone()).collect();
    assert_eq!(alive, [0, 0]);
}
