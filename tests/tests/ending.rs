//! The canonical fall (`scenarios/the-ending.toml`): no fault is injected, and the load alone causes every
//! beat that the scenario expects, the same on each host.

use tests::{check_hash, check_readme, hash, run_json, scenario};

#[test]
fn the_ending_comes_by_itself_and_the_next_incarnation_is_healthy() {
    let (outcome, verdict) = run_json(&scenario("the-ending.toml"), &[]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!((&verdict["outcome"], &verdict["healthy_after_reset"]), (&"recovered".into(), &true.into()));
    assert_eq!((&verdict["leaks"]["precision"], &verdict["leaks"]["recall"]), (&1.0.into(), &1.0.into()));
    check_hash("the-ending", &hash(&verdict));
    check_readme("the-ending", &verdict);
}

#[test]
fn with_the_pager_mended_nothing_leaks_under_the_same_load() {
    let arguments = [
        "--set",
        "fixes.pager=true",
        "--set",
        "vm.max-ticks=1200",
        "--set",
        "expect.beats=[]",
        "--set",
        "expect.outcome=disturbed",
    ];
    let (outcome, verdict) = run_json(&scenario("the-ending.toml"), &arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let beats = &verdict["beats"];
    for never in ["leak", "crossing", "the-one", "kernel-context", "scheduler-attacked"] {
        assert_eq!(beats[never]["reached"], false, "{never}: {outcome:?}");
    }
    assert_eq!(verdict["leaks"]["actual"], 0);
}
