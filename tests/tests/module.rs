//! Boot modules: names and places of programs are labels, and decide nothing.

use std::fs;
use std::path::Path;

use tests::module::{Module, name, rename};
use tests::{architect, hash, run, run_json, scenario};

/// The programs that every scenario without programs of its own starts.
const START: &str = r#"
name = "labels"
[vm]
max-ticks = 300
module = "MODULE"
[load]
people = 8
[[program]]
program = "watchdogd"
uid = 0
priority = 1
argument = 14
[[program]]
program = "nursery"
uid = 0
priority = 3
argument = "client"
[[program]]
program = "store"
uid = 100
priority = 2
ports = [2100]
[[program]]
program = "front"
count = 2
uid = 100
priority = 3
ports = [2000, 2001]
[[program]]
program = "batch"
priority = 5
argument = 8
"#;

/// Writes a module and a scenario that starts its programs.
fn scenario_with(home: &Path, label: &str, module: &Module, start: &str) -> std::path::PathBuf {
    let file = format!("{label}.module");
    fs::write(home.join(&file), module.bytes()).unwrap();
    let path = home.join(format!("{label}.toml"));
    fs::write(&path, start.replace("MODULE", &file)).unwrap();
    path
}

#[test]
fn other_names_in_another_order_change_nothing_but_the_labels() {
    let home = tempfile::tempdir().unwrap();
    let own = Module::of_the_image();
    let (outcome, before) = run_json(&scenario_with(home.path(), "own", &own, START), &[]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(before["outcome"], "healthy");

    let mut other = own.clone();
    other.programs.reverse();
    other.programs.rotate_left(2);
    let mut start = START.to_owned();
    for (nth, program) in other.programs.iter_mut().enumerate() {
        let new = format!("nobody-{nth}");
        start = start.replace(&format!("\"{}\"", name(program)), &format!("\"{new}\""));
        rename(program, &new);
    }
    assert!(!start.contains("\"client\"") && start.contains("argument = \"nobody-"), "{start}");
    let out = home.path().join("run");
    let path = scenario_with(home.path(), "other", &other, &start);
    let (outcome, after) = run_json(&path, &["--out", out.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_ne!(after["guest"]["module_sha256"], before["guest"]["module_sha256"]);
    assert_eq!(after["guest"]["image_sha256"], before["guest"]["image_sha256"]);
    assert_eq!(hash(&after), hash(&before));
    let console = fs::read_to_string(out.join("console.log")).unwrap();
    assert!(!console.contains("boot module"), "the kernel took the module and found its programs: {console}");
}

#[test]
fn what_is_no_boot_module_is_refused_before_the_guest_starts() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("some.module");
    let sets = |path: &Path| format!("vm.module={}", path.display());
    let mut old = Module::of_the_image().bytes();
    old[8] ^= 0x40;
    for (bytes, what) in
        [(b"nothing of the kind".to_vec(), "not a boot module"), (old, "has version"), (vec![], "empty")]
    {
        fs::write(&path, bytes).unwrap();
        let outcome = run(architect().arg("run").arg(scenario("healthy.toml")).args(["--set", &sets(&path)]));
        assert_eq!(outcome.status, Some(2), "{outcome:?}");
        for part in [what, "some.module", "remedy:"] {
            assert!(outcome.stderr.contains(part), "{part:?} not in {}", outcome.stderr);
        }
    }
    let none = home.path().join("none.module");
    let outcome = run(architect().arg("run").arg(scenario("healthy.toml")).args(["--set", &sets(&none)]));
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("none.module"), "{}", outcome.stderr);
}
