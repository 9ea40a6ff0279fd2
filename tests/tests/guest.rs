//! The kernel, tested from user space: the guest's programs `selftest` and `fuzz`, on this machine's KVM.

use serde_json::Value;
use tests::{SERVED, Told, check_hash, hash, run_text};

/// The tests that the guest runs, in order.
const TESTS: &[&str] = &[
    "a call brings an answer",
    "a loan is answered in place",
    "a call times out",
    "the server goes on after it",
    "who asks a dying server is told",
    "the server is gone",
    "a port closes with its owner",
    "foreign and low ports are refused",
    "root has a privileged port",
    "answers without a question are not",
    "a sender waits at a full port",
    "datagrams come whole and in order",
    "their numbers rise",
    "the sender has sent them all",
    "what has no room is cut off",
    "a full port times out",
    "an empty port times out",
    "odd datagrams are refused",
    "no datagram from a wild pointer",
    "none to a wild pointer either",
    "nor into program text",
    "nothing wild is lent",
    "nothing wild is examined",
    "no return stack is wild",
    "the server was not harmed",
    "a wild read is its reader's end",
    "the urgent run first",
    "sleepers wake in their order",
    "sleep lasts as long as asked",
    "short bursts run before long ones",
    "fresh pages are zero",
    "so are pages of the dead",
    "the heap grows to its limit",
    "and not beyond",
    "the stack grows to its limit",
    "and no further",
    "the heap cannot be run",
    "program text cannot be written",
    "not by root either",
    "the text that all share is whole",
    "who shares it was not harmed",
    "a parent learns the status",
    "no child, no wait",
    "an odd start is refused",
    "a kill is for once",
    "the killed one has its status",
    "an old pid is nobody's",
    "who has its place lives on",
    "a crash is told by its vector",
    "and counted",
    "others go on",
    "others are not harmed",
    "a crashed service is started again",
    "root, too, needs a key to pet",
    "root gets all keys",
    "the system gets the phone's",
    "people get none",
    "people have no power over others",
    "nor has the system",
    "people hold no office",
    "root holds none without a key",
    "root reads what others have",
    "they do not notice",
    "a scanner is tagged",
    "a forger is tagged",
    "a prober is tagged",
    "an honest one is not",
    "a phone call runs in ring 0",
    "root may phone as well",
    "the next signal is a caller's end",
    "who does not phone survives it",
    "signals are taken",
    "handlers run and registers are kept",
    "a signal finds who waits",
    "and interrupts the wait",
    "one signal waits, a third is refused",
    "each is handled once",
    "odd signals are refused",
    "who has no handler may be sent one",
    "and does not notice",
    "the last signal can be sent",
    "it ends who does not handle it",
    "version 1 works",
    "a word of version 2 arrives",
    "version 2 works",
    "everybody has a seed of his own",
    "with a key the watchdog is petted",
];

/// The service that `selftest` makes crash: its part in the upper half, its port in the lower.
const SERVICE: u64 = 1 << 32 | 1500;

/// The three Agents, the service, and the test program. Many processes crash on purpose, so no daemon pets
/// the watchdog: the tests start it when they are done, and it ends the run.
fn selftest() -> String {
    format!(
        r#"
        name = "selftest"
        vm = {{ max-ticks = 100000 }}
        watchdog = {{ timeout-ticks = 20, first = "poweroff" }}
        monitor = {{ period-ticks = 50 }}

        [[program]]
        program = "agent"
        count = 3
        uid = 0
        priority = 2
        ports = [0, 1, 2]

        [[program]]
        program = "selftest"
        priority = 5
        argument = {SERVICE}

        [[program]]
        program = "selftest"
        uid = 0
        priority = 3
        argument = "selftest"
        "#
    )
}

/// Two processes that call the kernel with nonsense, among processes that check their own data.
const FUZZED: &str = r#"
    [[program]]
    program = "echo"
    ports = [4200]

    [[program]]
    program = "chatter"
    ports = [4200]

    [[program]]
    program = "batch"
    argument = 8

    [[program]]
    program = "fuzz"
    count = 2
    uid = 2000
    argument = 2000
"#;

/// Checks the results of the guest's own tests, whatever the clock.
fn check_selftest(arguments: &[&str]) -> Value {
    let Told { outcome, verdict, console, .. } = run_text(&selftest(), arguments);
    let lines: Vec<&str> = console.lines().filter_map(|line| line.strip_prefix("selftest: ")).collect();
    let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("FAILED")).collect();
    assert!(failed.is_empty(), "{failed:?} in {console}");
    let expected: Vec<String> = TESTS.iter().map(|name| format!("ok {name}")).collect();
    let (done, passed) = lines.split_last().expect("the tests print something");
    assert_eq!(passed, expected, "{console}");
    assert_eq!(*done, format!("all {} done", TESTS.len()), "{console}");

    assert_eq!(outcome.status, Some(0), "the scenario expects nothing");
    assert_eq!(verdict["outcome"], "hung", "the watchdog that the tests set going ends the run");
    assert_eq!(verdict["incarnations"], 1);
    assert_eq!(verdict["watchdog"]["pets"], 1);
    assert_eq!((&verdict["leaks"]["detected"], &verdict["leaks"]["actual"]), (&0.into(), &0.into()));
    assert_eq!(verdict["damaged"], 0);
    let agents = &verdict["agents"];
    assert_eq!((&agents["true_positives"], &agents["false_positives"]), (&3.into(), &0.into()));
    assert_eq!((&verdict["monitor"]["restarts"], &verdict["monitor"]["kills"]), (&1.into(), &0.into()));
    // Tests do each of these a known number of times, so the counters must have them.
    let kernel = &verdict["subsystems"];
    for (counter, least) in [
        // The lent text. A call that a signal interrupts lends as well, if it was received before.
        ("loans", 1),
        ("gated", 2),
        ("datagrams", 30),
        ("signals", 14),
        ("phones", 6),
        ("calls_v1", 8),
        ("calls_v2", 5),
        ("examined", 1),
        ("granted", 7),
        ("withheld", 2),
        ("tagged", 3),
        ("crashes", 20),
        ("timeouts", 2),
    ] {
        assert!(kernel[counter].as_u64().unwrap() >= least, "{counter} in {kernel:#}");
    }
    assert_eq!(kernel["early_reuses"], 0);
    verdict
}

#[test]
fn the_guest_passes_its_own_tests() {
    let verdict = check_selftest(&[]);
    check_hash("selftest", &hash(&verdict));
}

#[test]
fn the_guest_passes_its_own_tests_under_real_preemption() {
    let verdict = check_selftest(&["--set", "vm.clock=apic"]);
    assert!(verdict["trace_hash"].is_null(), "real time makes every run another one");
}

#[test]
fn the_guest_passes_its_own_tests_with_all_that_is_mended() {
    let fixes = ["pager", "ids", "monitor", "priorities"].map(|fix| format!("fixes.{fix}=true"));
    let arguments: Vec<&str> = fixes.iter().flat_map(|fix| ["--set", fix]).collect();
    let verdict = check_selftest(&arguments);
    check_hash("selftest-mended", &hash(&verdict));
}

#[test]
fn nonsense_from_two_processes_harms_no_other_process() {
    let fuzzed = format!("name = \"fuzzed\"\nvm = {{ memory-mib = 8, max-ticks = 800 }}\n{SERVED}{FUZZED}");
    let Told { outcome, verdict, console, .. } = run_text(&fuzzed, &[]);
    assert_eq!(outcome.status, Some(0));
    assert_eq!(verdict["outcome"], "healthy", "{console}");
    assert_eq!((&verdict["crashes"], &verdict["damaged"]), (&0.into(), &0.into()), "{console}");
    assert_eq!((&verdict["leaks"]["detected"], &verdict["leaks"]["actual"]), (&0.into(), &0.into()));
    let refusals = verdict["subsystems"]["refusals"].as_u64().unwrap();
    assert!(refusals > 3000, "most of 4000 nonsensical calls are refused: {refusals}");
    // Damaged processes print a line, so no other line may appear.
    let said: Vec<&str> = console.lines().filter(|line| !line.starts_with("matrix: ")).collect();
    assert_eq!(said, ["fuzz: all answers were in order"; 2], "{console}");
    check_hash("fuzzed", &hash(&verdict));
}
