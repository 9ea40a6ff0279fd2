//! Faults whose outcome is known by construction, each in its class. The trace is the same run after run and
//! on every host, and a fault that never acts leaves no trace.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tests::{SERVED, architect, check_hash, events, hash, run, run_json, scenario, written};

/// The processes that the faults below act on, beside clients and their servers.
const LOAD: &str = r#"
[[program]]
program = "batch"
priority = 5
argument = 8
[[program]]
program = "echo"
ports = [4200]
[[program]]
program = "chatter"
ports = [4200]
[[program]]
program = "agent"
uid = 0
priority = 2
ports = [1]
[[program]]
program = "ticker"
priority = 5
argument = 20
"#;

/// A scenario file in a folder of its own.
struct Scenario {
    folder: TempDir,
    path: PathBuf,
}

impl Scenario {
    /// Creates it with this watchdog and these faults.
    fn new(watchdog: &str, faults: &[[&str; 3]]) -> Self {
        let mut text = format!(
            "name = \"known\"\nseed = 3\n[vm]\nmax-ticks = 300\n[watchdog]\ntimeout-ticks = 60\n{watchdog}\n[load]\npeople = 3\n{SERVED}{LOAD}"
        );
        for [when, place, what] in faults {
            text += &format!("[[fault]]\nwhen = {{ {when} }}\nwhere = {{ {place} }}\nwhat = {{ {what} }}\n");
        }
        let (folder, path) = written(&text);
        Self { folder, path }
    }

    fn run(&self) -> Value {
        let (outcome, verdict) = run_json(&self.path, &[]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        verdict
    }
}

/// Asserts that a run with these faults ends in this class, is detected by these and recovered by that.
fn check(name: &str, watchdog: &str, faults: &[[&str; 3]], class: &str, noticed: &[&str], by: Option<&str>) {
    let verdict = Scenario::new(watchdog, faults).run();
    let effect = &verdict["faults"];
    assert_eq!(effect["golden"]["outcome"], "healthy", "{name}: {effect}");
    assert_eq!(verdict["outcome"], class, "{name}: {effect}");
    assert_eq!(effect["acted"], faults.len(), "{name}: {effect}");
    let expected = serde_json::json!(noticed);
    assert_eq!(effect["noticed_by"], expected, "{name}: {effect}");
    assert_eq!(effect["recovered_by"], serde_json::json!(by), "{name}: {effect}");
    // Only where the fault caused a reset.
    let put_back = (class == "recovered" && verdict["incarnations"] != 1).then_some("snapshot");
    assert_eq!(effect["put_back_by"], serde_json::json!(put_back), "{name}: {effect}");
    if verdict["incarnations"] != 1 {
        assert_eq!(effect["residue"], false, "{name}: the life after a reset is a first one: {effect}");
    }
    check_hash(&format!("fault-{name}"), &hash(&verdict));
}

const TABLE: &str = "virtual = 0x800008, process = \"batch\"";

#[test]
fn a_fault_that_is_overwritten_before_it_is_read_is_masked() {
    // A sleeping process gets its status in RAX when it wakes.
    let rax = ["tick = 50", "register = \"rax\", process = \"batch\"", "flip = 3"];
    check("overwritten", "", &[rax], "masked", &[], None);
    let flip = ["tick = 50", TABLE, "flip = 1, bit = 3"];
    check("put-right", "", &[flip, flip], "masked", &[], None);
}

#[test]
fn a_fault_that_is_never_read_is_latent() {
    // The sum of prediction errors is written and never read.
    let field = ["tick = 50", "descriptor = \"misjudged\", process = \"batch\"", "flip = 1, bit = 31"];
    check("unread", "", &[field], "latent", &[], None);
}

#[test]
fn a_jump_to_unmapped_memory_is_detected_by_the_processor() {
    let rip = ["tick = 50", "register = \"rip\", process = \"batch\"", "flip = 1, bit = 40"];
    check("jump", "", &[rip], "detected", &["processor", "monitor"], None);
    let user = ["tick = 50", "page-table = 0x800000, process = \"batch\"", "flip = 1, bit = 2"];
    check("no-longer-the-users", "", &[user], "detected", &["processor", "monitor"], None);
}

#[test]
fn a_page_that_leads_to_the_kernels_frames_is_detected_by_the_audit() {
    // The first processes' frames are in the second MiB; without bit 20 they are in the first, the
    // firmware's.
    let entry =
        ["tick = 50", "page-table = 0x5ff000, process = \"watchdogd\"", "stuck-at = 0, bit = 20, ticks = 1"];
    let verdict = Scenario::new("", &[entry]).run();
    assert_eq!(
        (&verdict["outcome"], &verdict["faults"]["noticed_by"][0]),
        (&"detected".into(), &"audit".into())
    );
    check_hash("fault-crossing", &hash(&verdict));
}

#[test]
fn data_that_only_its_owner_checks_are_corrupted() {
    // The worker finds the damage itself, too late; then it is restarted.
    check("table", "", &[["tick = 50", TABLE, "flip = 1"]], "corrupted", &["monitor"], None);
    let stuck = ["tick = 50", TABLE, "stuck-at = 1, bit = 40"];
    check("stuck", "", &[stuck], "corrupted", &["monitor"], None);
    let twice = ["tick = 50", "message = \"datagram\"", "duplicate = 1"];
    check("twice", "", &[twice], "corrupted", &["monitor"], None);
    // No process reads the console.
    let letter = ["tick = 50", "device = \"serial\"", "flip = 1"];
    check("letter", "", &[letter], "corrupted", &[], None);
}

/// Bit 40 of a kernel address: flipped, it leads to unmapped memory.
const KERNEL_JUMP: [&str; 3] =
    ["symbol = \"Kernel::tick\", nth = 50", "register = \"rip\"", "flip = 1, bit = 40"];
/// Time goes on, but no timer interrupt arrives.
const NO_TIMER: [&str; 3] = ["tick = 50", "device = \"timer\"", "lost = 1000000"];

#[test]
fn a_kernel_that_jumps_to_unmapped_memory_crashes_and_is_recovered_by_its_nmi_handler() {
    // The monitor would take all waiting processes for wedged.
    check(
        "crash",
        "first = \"none\"\nsecond = \"none\"\n[monitor]\nenabled = false",
        &[KERNEL_JUMP],
        "crashed",
        &["kernel", "watchdog"],
        None,
    );
    check(
        "brought-back",
        "[monitor]\nenabled = false",
        &[KERNEL_JUMP],
        "recovered",
        &["kernel", "watchdog"],
        Some("nmi-handler"),
    );
}

#[test]
fn without_a_timer_it_hangs_unless_nmi_or_reset_recovers_it() {
    let monitor_off = "[monitor]\nenabled = false";
    let with = |watchdog: &str| format!("{watchdog}\n{monitor_off}");
    check("hang", &with("first = \"pause\""), &[NO_TIMER], "hung", &["watchdog"], None);
    check("hang-nmi", &with(""), &[NO_TIMER], "recovered", &["watchdog"], Some("nmi-handler"));
    let reset = with("first = \"none\"\nsecond = \"reset\"");
    check("hang-reset", &reset, &[NO_TIMER], "recovered", &["watchdog"], Some("watchdog"));
    let (_, cold) = run_json(&Scenario::new(&reset, &[NO_TIMER]).path, &["--set", "vm.start=\"cold\""]);
    assert_eq!(cold["faults"]["put_back_by"], "boot", "{}", cold["faults"]);
    assert_eq!(cold["faults"]["residue"], false, "{}", cold["faults"]);
    let deaf = ["tick = 50", "device = \"watchdog\"", "drop = 1000"];
    check("deaf", &with(""), &[deaf], "recovered", &["watchdog"], Some("watchdog"));
}

#[test]
fn a_paused_machine_gets_a_stray_nmi_and_continues() {
    let pause = ["tick = 50", "", "pause = 59"];
    check("pause", "", &[pause], "recovered", &["watchdog"], Some("nmi-handler"));
    check("stray-nmi", "", &[["tick = 50", "", "nmi = true"]], "masked", &[], None);
}

#[test]
fn a_service_that_is_ended_is_missed_by_the_monitor() {
    let kill = ["tick = 50", "process = \"agent\"", "kill = true"];
    check("kill", "", &[kill], "detected", &["monitor"], None);
    let changed = [
        "changed = { descriptor = \"messages\", process = \"store\" }, nth = 3",
        "process = 2",
        "kill = true",
    ];
    check("changed", "", &[changed], "detected", &["monitor"], None);
}

#[test]
fn spurious_interrupts_and_withheld_memory_do_no_harm() {
    check("spurious", "", &[["tick = 50", "device = \"timer\"", "spurious = 20"]], "masked", &[], None);
    check("lost", "", &[["tick = 50", "device = \"timer\"", "lost = 3"]], "masked", &[], None);
    let away = ["tick = 50", "device = \"memory\"", "withhold = 100000, ticks = 20"];
    let verdict = Scenario::new("", &[away]).run();
    assert_eq!((&verdict["outcome"], &verdict["faults"]["acted"]), (&"masked".into(), &1.into()));
}

#[test]
fn a_moment_that_never_comes_leaves_no_trace() {
    let golden = Scenario::new("", &[]).run();
    let waits = [
        ["symbol = \"Kernel::tick\", nth = 100000", "", "nmi = true"],
        ["symbol = \"Memory::open_loan\", nth = 100000", "", "nmi = true"],
        ["event = \"panic\"", "", "nmi = true"],
        ["beat = \"the-one\"", "", "nmi = true"],
        ["tick = 100000", TABLE, "flip = 1"],
    ];
    let waiting = Scenario::new("", &waits).run();
    assert_eq!((&waiting["outcome"], &waiting["faults"]["acted"]), (&"masked".into(), &0.into()));
    assert_eq!(hash(&waiting), hash(&golden), "traps and steps over them are not seen");
}

#[test]
fn a_fault_that_finds_nothing_to_act_on_says_so() {
    let scenario = Scenario::new(
        "",
        &[
            ["tick = 50", "process = \"oracle\"", "kill = true"],
            ["tick = 50", "virtual = 0x9ff000, process = \"batch\"", "flip = 1"],
            ["tick = 50", "process = \"255.9\"", "kill = true"],
        ],
    );
    let out = scenario.folder.path().join("run");
    let (_, verdict) = run_json(&scenario.path, &["--out", out.to_str().unwrap()]);
    assert_eq!((&verdict["faults"]["acted"], &verdict["faults"]["missed"]), (&0.into(), &3.into()));
    let missed: Vec<_> = events(&out).into_iter().filter(|event| event["kind"] == "fault-missed").collect();
    let told: Vec<_> =
        missed.iter().map(|event| (event["number"].as_u64(), event["reason"].as_u64())).collect();
    assert_eq!(told, [(Some(0), Some(6)), (Some(1), Some(2)), (Some(2), Some(1))]);
}

#[test]
fn unknown_processes_and_places_are_refused_before_the_guest_runs() {
    for (fault, place, part) in [
        (
            ["tick = 1", "process = \"nobody\"", "kill = true"],
            "where.process",
            "no process is ever called `nobody`",
        ),
        (["symbol = \"no_such_function\"", "", "nmi = true"], "when.symbol", "no function"),
        (
            ["symbol = { one-of = [\"Kernel::tick\", \"no_such_function\"] }", "", "nmi = true"],
            "when.symbol",
            "no function",
        ),
        (["line = \"clock.rs:1\"", "", "nmi = true"], "when.line", "no instruction"),
    ] {
        let scenario = Scenario::new("", &[fault]);
        let outcome = run(architect().arg("run").arg(&scenario.path));
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
        for part in [part, "line ", "column ", "remedy: ", &format!("key fault[0].{place}")] {
            assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_resolved_scenario_runs_as_the_one_that_it_was_drawn_from() {
    for name in ["fault-page-tables.toml", "fault-messages.toml"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let (_, drawn) = run_json(&scenario(name), &["--out", out.to_str().unwrap()]);
        let (_, resolved) = run_json(&out.join("scenario.toml"), &[]);
        assert_eq!(hash(&drawn), hash(&resolved), "{name}");
        assert_eq!(drawn["faults"], resolved["faults"], "{name}");
        check_hash(name, &hash(&drawn));
    }
}

#[test]
fn every_shipped_fault_acts() {
    for name in [
        "fault-descriptors",
        "fault-datagrams",
        "fault-timer-lost",
        "fault-timer-spurious",
        "fault-agents",
        "fault-memory",
    ] {
        let (outcome, verdict) = run_json(&scenario(&format!("{name}.toml")), &[]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        assert!(verdict["faults"]["acted"].as_u64() >= Some(1), "{name}: {}", verdict["faults"]);
        assert_eq!(verdict["faults"]["golden"]["outcome"], "healthy", "{name}");
        check_hash(name, &hash(&verdict));
    }
}
