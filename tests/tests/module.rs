//! Boot modules: names and positions of programs are labels, and decide nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::module::{self, Module, rename};
use tests::{architect, hash, run, run_json, scenario};

/// Writes a module and a scenario: a shipped one, with this module.
fn scenario_with(home: &Path, label: &str, module: &Module, text: &str) -> PathBuf {
    let file = format!("{label}.module");
    fs::write(home.join(&file), module.bytes()).unwrap();
    let path = home.join(format!("{label}.toml"));
    let vm = format!("[vm]\nmodule = \"{file}\"\n");
    fs::write(&path, text.replacen("[vm]\n", &vm, 1)).unwrap();
    path
}

/// The scenario with all programs renamed as in the module: where they are started, and where arguments name
/// them.
fn renamed(text: &str, names: &[(String, String)]) -> String {
    let rename = |line: &str| {
        let (key, value) = line.split_once(" = ")?;
        let value = value.split_once('#').map_or(value, |(value, _)| value).trim();
        let (_, new) = names.iter().find(|(old, _)| value == format!("\"{old}\""))?;
        ["program", "argument"].contains(&key).then(|| format!("{key} = \"{new}\""))
    };
    text.lines().map(|line| rename(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// Runs a shipped scenario unchanged, and with all programs of the module in another order and under other
/// names.
fn with_other_labels(name: &str, arguments: &[&str]) -> [Value; 2] {
    let text = fs::read_to_string(scenario(&format!("{name}.toml"))).unwrap();
    let home = tempfile::tempdir().unwrap();
    let own = Module::of_the_image();
    let (_, before) = run_json(&scenario_with(home.path(), "own", &own, &text), arguments);

    let mut other = own.clone();
    other.programs.reverse();
    other.programs.rotate_left(2);
    let mut names = Vec::new();
    for (nth, program) in other.programs.iter_mut().enumerate() {
        let new = format!("nobody-{nth}");
        names.push((module::name(program), new.clone()));
        rename(program, &new);
    }
    let text = renamed(&text, &names);
    for (old, _) in &names {
        assert!(!text.contains(&format!("program = \"{old}\"")), "{old} in {text}");
    }
    assert!(text.contains("argument = \"nobody-"), "{text}");
    let out = home.path().join("run");
    let path = scenario_with(home.path(), "other", &other, &text);
    let (_, after) = run_json(&path, &[arguments, &["--out", out.to_str().unwrap()]].concat());
    assert_ne!(after["guest"]["module_sha256"], before["guest"]["module_sha256"]);
    assert_eq!(after["guest"]["image_sha256"], before["guest"]["image_sha256"]);
    let console = fs::read_to_string(out.join("console.log")).unwrap();
    assert!(!console.contains("boot module"), "the kernel took the module and found its programs: {console}");
    [before, after]
}

#[test]
fn other_names_in_another_order_change_nothing_but_the_labels() {
    // All roles of the story, until the Agents have found the violators.
    let [before, after] = with_other_labels("healthy", &["--set", "vm.max-ticks=600"]);
    assert_eq!((&before["outcome"], &after["outcome"]), (&"healthy".into(), &"healthy".into()));
    assert_eq!(before["agents"]["true_positives"], 3);
    assert_eq!(hash(&after), hash(&before));
}

#[test]
fn the_leak_hits_the_same_frames_whatever_the_programs_are_called() {
    let [before, after] = with_other_labels("demo-leak", &["--set", "vm.max-ticks=300"]);
    assert!(before["leaks"]["detected"].as_u64().unwrap() > 0, "{before:#}");
    assert_eq!(after["leaks"], before["leaks"]);
    assert_eq!(hash(&after), hash(&before));
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
