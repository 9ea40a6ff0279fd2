//! `architect run`: scenarios, their verdicts and folders, on this machine's KVM.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::{Outcome, architect, check_hash, check_readme, events, hash, run, scenario};

/// Runs a shipped scenario with `--json` and further arguments.
fn run_json(name: &str, arguments: &[&str]) -> (Outcome, Value) {
    tests::run_json(&scenario(name), arguments)
}

#[test]
fn the_leak_is_proved_and_the_collapse_survived() {
    let home = tempfile::tempdir().unwrap();
    let folder: PathBuf = home.path().join("run");
    let (outcome, verdict) = run_json("demo-leak.toml", &["--out", folder.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(
        verdict,
        serde_json::from_str::<Value>(&fs::read_to_string(folder.join("verdict.json")).unwrap()).unwrap()
    );
    assert_eq!(verdict["outcome"], "recovered");
    assert_eq!(verdict["incarnations"], 2);
    assert_eq!(verdict["healthy_after_reset"], true);
    assert_eq!(verdict["watchdog"]["nmis"], 1);
    for beat in ["leak", "nmi", "reset"] {
        assert_eq!(verdict["beats"][beat]["reached"], true, "{beat}");
        assert!(verdict["beats"][beat]["evidence"].is_object(), "{beat}");
    }

    // The evidence names the frame, both processes that map it and where, and the address of each page-table
    // entry.
    let leak = &verdict["beats"]["leak"]["evidence"];
    let mappings = leak["mappings"].as_array().unwrap();
    assert!(mappings.len() >= 2, "{leak:#}");
    for mapping in mappings {
        for key in ["pid", "virtual", "entry"] {
            assert!(mapping[key].is_string(), "{key} in {leak:#}");
        }
    }
    assert_eq!((&leak["finding"], &leak["kind"]), (&"leak".into(), &"user".into()));
    assert_eq!(leak["tick"], verdict["beats"]["leak"]["tick"], "the guest's clock is the run's");
    assert_eq!(leak["ledger_owner"], leak["owner"], "ledger and frame table agree");
    assert_ne!(mappings[0]["pid"], mappings[1]["pid"]);
    assert_ne!(mappings[0]["entry"], mappings[1]["entry"]);
    assert_eq!(mappings[0]["pid"], leak["owner"]);
    assert_eq!(mappings[1]["standing"], "uncovered");

    // The ledger, made from the trace alone, agrees with what the page tables showed.
    let leaks = &verdict["leaks"];
    assert!(leaks["detected"].as_u64().unwrap() > 0);
    assert_eq!((&leaks["precision"], &leaks["recall"]), (&1.0.into(), &1.0.into()), "{leaks}");

    assert_eq!(verdict["hidden_spaces"]["found"], 0);

    // The processor stood at a doorbell, in the kernel; the symbols give a line that exists in the source.
    let place = verdict["beats"]["nmi"]["evidence"]["at"].as_str().expect("the handler's place has a name");
    assert!(place.contains("+0x") && place.contains("(guest-kernel/src/"), "{place}");
    // Found by the first possible audit, and written through later: the server answers in place.
    assert_eq!(leaks["detection_latency_ticks"], json!({"median": 0, "max": 0}));
    assert!(leaks["written"].as_u64().unwrap() > 0, "{leaks}");
    assert!(leaks["exposure_ticks"]["median"].as_u64().unwrap() > 0, "{leaks}");

    // The first incarnation's post-mortem starts with the frame of the first leak, and its loan is in the
    // events.
    let post_mortem = fs::read_to_string(folder.join("post-mortem.json")).unwrap();
    let post_mortem: Value = serde_json::from_str(&post_mortem).unwrap();
    let cause = &post_mortem["first_cause"];
    assert_eq!((&cause["frame"], &cause["given_to"]["pid"]), (&leak["frame"], &leak["owner"]));
    assert_eq!(cause["loan"]["borrower"]["pid"], mappings[1]["pid"]);
    assert_eq!(json!([cause["free_list_empty"], cause["freed"]["epoch_had_ended"]]), json!([true, false]));
    assert_eq!(
        post_mortem["counts"]["findings"], leaks["detected"],
        "there is none in the second incarnation"
    );
    assert_eq!(post_mortem["writes"].as_array().unwrap().len(), leaks["written"].as_u64().unwrap() as usize);
    let crashes = post_mortem["crashes"].as_array().unwrap();
    assert_eq!(verdict["crashes"], crashes.len());
    let hit = |crash: &&Value| !crash["written_by_others"].as_array().unwrap().is_empty();
    assert!(crashes.iter().filter(hit).count() > 0, "{crashes:#?}");
    assert_eq!(post_mortem["ended"], "reset-by-guest");
    assert_eq!(post_mortem["recommendations"][0]["due"], true);
    let text = fs::read_to_string(folder.join("post-mortem.txt")).unwrap();
    assert!(text.contains(&format!("lent frame {}", leak["frame"].as_str().unwrap())), "{text}");
    assert!(!folder.join("post-mortem-2.json").exists(), "the second incarnation was healthy");

    // The events have the story in order: the frame was given away before the leak was found.
    let events = events(&folder);
    assert!(events.iter().enumerate().all(|(seq, event)| event["seq"] == seq));
    assert_eq!(verdict["events"], events.len());
    let at = |kind: &str| {
        events.iter().position(|event| event["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
    };
    let early = events.iter().position(|event| event["kind"] == "given" && event["source"] == 2).unwrap();
    assert!(early < at("leak-found"), "a frame was handed out early, and then found shared");
    assert!(
        at("watchdog-expired") < at("nmi-sent") && at("nmi-sent") < at("nmi") && at("verdict") < at("reset")
    );
    assert_eq!(events[at("nmi")]["at"], place);
    // The run ends when the second incarnation was watched for as long as the verdict says.
    let end = events.last().unwrap();
    let watched = &verdict["beats"]["reset"]["evidence"]["ticks_watched"];
    assert_eq!((&end["kind"], &end["tick"], &end["incarnation"]), (&"end".into(), watched, &2.into()));
    let console = fs::read_to_string(folder.join("console.log")).unwrap();
    assert_eq!(console.matches("matrix: up").count(), 2);
    assert!(console.contains("critical"), "{console}");
    let resolved = fs::read_to_string(folder.join("scenario.toml")).unwrap();
    assert!(resolved.contains("max-ticks") && resolved.contains("tick-entries"));

    check_hash("demo-leak", &hash(&verdict));
    check_readme("demo-leak", &verdict);
    // These are not in the events, and still the same on every host.
    let times = ["detection_latency_ticks", "exposure_ticks", "written", "written_before_detection"];
    check_hash("demo-leak-times", &times.map(|key| leaks[key].to_string()).concat());
}

#[test]
fn a_light_load_is_clean() {
    let (outcome, verdict) = run_json("healthy.toml", &[]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(verdict["outcome"], "healthy");
    assert_eq!(verdict["leaks"]["detected"], 0);
    assert_eq!(verdict["leaks"]["actual"], 0);
    assert!(verdict["leaks"]["precision"].is_null());
    assert_eq!((&verdict["monitor"]["restarts"], &verdict["monitor"]["kills"]), (&0.into(), &0.into()));
    assert_eq!(verdict["agents"]["false_positives"], 0);
    assert_eq!(verdict["damaged"], 0);
    assert_eq!(verdict["watchdog"]["nmis"], 0);
    assert_eq!(verdict["crashes"], 0);
    assert_eq!(verdict["incarnations"], 1);
    assert!(verdict["healthy_after_reset"].is_null());
    let pets = verdict["watchdog"]["pets"].as_u64().unwrap();
    assert!(pets > 0);
    let kernel = verdict["subsystems"].as_object().unwrap();
    assert_eq!(kernel["pets"], pets, "the kernel counts what the device counts");
    assert!(kernel["messages"].as_u64().unwrap() > 0 && kernel["crashes"] == 0);
    check_hash("healthy", &hash(&verdict));
    check_readme("healthy", &verdict);
}

#[test]
fn twenty_runs_of_one_seed_give_one_hash() {
    let once = || {
        let (_, verdict) = run_json("demo-leak.toml", &["--set", "vm.max-ticks=250"]);
        assert!(
            verdict["leaks"]["detected"].as_u64().unwrap() > 0,
            "this part of the run has the first leaks"
        );
        hash(&verdict)
    };
    let first = once();
    for _ in 1..20 {
        assert_eq!(once(), first);
    }
    check_hash("demo-leak-250", &first);
}

#[test]
fn another_seed_gives_another_hash() {
    let of = |seed: &str| hash(&run_json("healthy.toml", &["--set", "vm.max-ticks=100", "--seed", seed]).1);
    assert_ne!(of("1"), of("2"));
}

#[test]
fn a_pager_that_honours_its_quarantine_leaks_nothing() {
    let (outcome, verdict) =
        run_json("demo-leak.toml", &["--set", "fixes.pager=true", "--set", "vm.max-ticks=400"]);
    assert_eq!(outcome.status, Some(1), "the scenario expects the leak");
    assert!(outcome.stderr.contains("`leak` was not reached"), "{}", outcome.stderr);
    assert_eq!(verdict["leaks"]["detected"], 0);
    assert_eq!(verdict["leaks"]["actual"], 0);
    assert_eq!(verdict["outcome"], "healthy");
    assert_eq!(verdict["beats"]["load"]["reached"], true, "the load is as heavy as without the fix");
}

#[test]
fn linux_rules_report_windows_on_quarantined_frames_as_leaks() {
    let arguments = ["--set", "vm.max-ticks=300", "--set", "audit.policy=page-table-check"];
    let (_, verdict) = run_json("demo-leak.toml", &arguments);
    assert_eq!(verdict["policy"], "page-table-check");
    let leaks = &verdict["leaks"];
    assert!(leaks["true_positives"].as_u64().unwrap() > 0, "{leaks}");
    assert!(leaks["precision"].as_f64().unwrap() < 1.0, "{leaks}");
}

#[test]
fn the_text_summary_is_of_the_same_run() {
    let outcome =
        run(architect().arg("run").arg(scenario("healthy.toml")).args(["--set", "vm.max-ticks=50"]));
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stdout.starts_with("healthy, seed 1: healthy"), "{}", outcome.stdout);
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
}

#[test]
fn wrong_scenarios_are_refused_with_place_and_remedy() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("wrong.toml");
    let out = home.path().join("out");
    for (text, place) in [
        ("name = \"x\"\n[vm]\nmemory = 8\n", "line 3, column 1"),
        ("name = \"x\"\n[vm]\nmemory-mib = \"much\"\n", "line 3, column 14"),
        ("name = \"x\"\n[load]\npeople = 100000\n", "load.people"),
        ("name = \"x\"\n[monitor]\nperiod = 4\n", "line 3, column 1"),
        ("name = \"x\"\n[monitor]\nperiod-ticks = 0\n", "monitor.period-ticks"),
        ("name = \"x\"\n[fixes]\nall = true\n", "line 3, column 1"),
        ("name = \"x\"\n[vm]\nclock = \"sundial\"\n", "line 3, column 9"),
        ("name = \"x\"\n[audit]\npolicy = \"lenient\"\n", "line 3, column 10"),
        ("name = \"x\"\n[vm]\nvms = 1000\n", "vm.vms"),
        ("name = \"x\"\n[[program]]\nprogram = \"nosuch\"\n", "program[0].program"),
        ("name = \"x\"\n[[program]]\nprogram = \"nursery\"\nargument = \"nosuch\"\n", "program[0].argument"),
        ("name = \n", "line 1"),
        ("\u{0}", "line 1"),
    ] {
        fs::write(&path, text).unwrap();
        let outcome = run(architect().arg("run").arg(&path).arg("--out").arg(&out));
        assert_eq!(outcome.status, Some(2), "{outcome:?}");
        for part in [place, "wrong.toml", "remedy:"] {
            assert!(outcome.stderr.contains(part), "{part:?} not in {}", outcome.stderr);
        }
        assert!(!out.exists(), "a refused run leaves nothing behind");
    }
    let outcome = run(architect().arg("run").arg(home.path().join("none.toml")));
    assert_eq!(outcome.status, Some(2));
    assert!(outcome.stderr.contains("none.toml"));
}

#[test]
fn wrong_values_on_the_command_line_are_refused() {
    for set in ["vm.memory=8", "vm.memory-mib=much", "nonsense=1", "vm.memory-mib=1"] {
        let outcome = run(architect().arg("run").arg(scenario("healthy.toml")).args(["--set", set]));
        assert_eq!(outcome.status, Some(2), "{set}: {outcome:?}");
        let key = set.split('=').next().unwrap();
        assert!(outcome.stderr.contains(key), "{set}: {}", outcome.stderr);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_before_the_guest_starts() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    let out = home.path().join("file/run");
    let outcome = run(architect().arg("run").arg(scenario("healthy.toml")).arg("--out").arg(&out));
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("--out") && outcome.stderr.contains("remedy:"), "{}", outcome.stderr);
}

/// Knowing what was written only saves work: events and verdict equal those of audits that read everything.
#[test]
fn audits_of_what_changed_find_what_audits_of_everything_find() {
    let run = |whole| {
        let (_, mut verdict) = run_json("demo-leak.toml", &["--set", whole, "--set", "vm.max-ticks=400"]);
        verdict.as_object_mut().unwrap().remove("wall_ms");
        verdict.as_object_mut().unwrap().remove("stolen_ms");
        verdict
    };
    let verdict = run("audit.whole=false");
    assert!(verdict["leaks"]["detected"].as_u64().unwrap() > 0, "{verdict:#}");
    assert_eq!(verdict, run("audit.whole=true"));
}
