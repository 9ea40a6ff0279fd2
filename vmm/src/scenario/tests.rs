//! Scenarios, right and wrong.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Scenario, Error> {
    Scenario::parse(text, "test.toml", None, &[])
}

fn with(sets: &[(&str, &str)]) -> Result<Scenario, Error> {
    let sets: Vec<_> = sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Scenario::parse("name = \"x\"\n[vm]\nmemory-mib = 8\n", "test.toml", Some(9), &sets)
}

#[test]
fn the_smallest_scenario_has_a_name() {
    let scenario = parse("name = \"x\"").unwrap();
    assert_eq!((scenario.seed, scenario.vm.memory_mib), (1, 32));
    assert!(scenario.command_line().contains("start=watchdogd:1:0:1:14,nursery:1:0:3:client,"));
}

#[test]
fn mistakes_are_told_with_line_column_and_key() {
    for (text, parts) in [
        ("name = \"x\"\n[vm]\nmemory = 8", ["line 3, column 1", "memory"]),
        ("name = \"x\"\n[vm]\nmemory-mib = \"8\"", ["line 3, column 14", "u32"]),
        ("name = \"x\"\nseed = -1", ["line 2, column 8", "-1"]),
        ("seed = 1", ["line 1", "name"]),
        ("name = \"x\"\n[watchdog]\nfirst = \"explode\"", ["line 3, column 9", "explode"]),
        ("name = \"x\"\n[expect]\nbeats = [\"no-such\"]", ["line 3", "no-such"]),
        ("name = \"x\"\n[vm]\nclock = \"sundial\"", ["line 3, column 9", "sundial"]),
        ("name = \"x\"\n[[program]]\nprogram = \"p\"\nspeed = 1", ["line 4, column 1", "speed"]),
        ("name = ", ["line 1", "test.toml"]),
        ("name = \"x\"\n[vm]\nmemory-mib = 1", ["vm.memory-mib", "3 to 1024"]),
        ("name = \"x\"\n[load]\nmessage-pages = 5", ["load.message-pages", "1 to 4"]),
        ("name = \"x\"\n[vm]\nvms = 0", ["vm.vms", "1 to 256"]),
        ("name = \"x\"\n[monitor]\nperiod = 3", ["line 3, column 1", "period-ticks"]),
        ("name = \"x\"\n[monitor]\nperiod-ticks = 0", ["monitor.period-ticks", "1 to"]),
        ("name = \"x\"\n[fixes]\neverything = true", ["line 3, column 1", "priorities"]),
        ("name = \"x\"\n[[program]]\nprogram = \"a b\"", ["program[0].program", "letters"]),
        ("name = \"x\"\n[[program]]\nprogram = \"p\"\nports = [1, 2]", ["program[0].ports", "one port"]),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        let message = error.to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} not in {message}");
        }
    }
}

#[test]
fn values_from_the_command_line_come_last() {
    let scenario = with(&[("vm.memory-mib", "24"), ("fixes.pager", "true"), ("name", "y")]).unwrap();
    assert_eq!((scenario.vm.memory_mib, scenario.fixes.pager, scenario.name.as_str()), (24, true, "y"));
    assert_eq!(scenario.seed, 9);
}

#[test]
fn every_fix_reaches_the_kernel_by_its_name() {
    for fix in ["pager", "ids", "monitor", "priorities"] {
        let off = with(&[]).unwrap().command_line();
        let on = with(&[(&format!("fixes.{fix}"), "true")]).unwrap().command_line();
        assert!(off.contains(&format!(" fix.{fix}=0 ")), "{off}");
        assert_eq!(on, off.replace(&format!("fix.{fix}=0"), &format!("fix.{fix}=1")));
    }
}

#[test]
fn the_clock_is_told_where_it_is_not_the_usual_one() {
    assert!(!with(&[]).unwrap().command_line().contains("clock="));
    assert!(with(&[("vm.clock", "apic")]).unwrap().command_line().contains(" clock=apic "));
}

#[test]
fn a_module_is_seen_from_the_scenario_or_from_where_it_is_typed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("x.toml");
    std::fs::write(&path, "name = \"x\"\nvm.module = \"my.module\"\n").unwrap();
    assert_eq!(Scenario::read(&path, None, &[]).unwrap().vm.module, Some(home.path().join("my.module")));
    let sets = [("vm.module".to_owned(), "my.module".to_owned())];
    let here = std::env::current_dir().unwrap().join("my.module");
    assert_eq!(Scenario::read(&path, None, &sets).unwrap().vm.module, Some(here));
}

#[test]
fn wrong_sets_are_told() {
    for (key, value) in [("vm.memory", "24"), ("vm.memory-mib", "x"), ("name.x", "1"), ("vm.", "1")] {
        let message = with(&[(key, value)]).unwrap_err().to_string();
        assert!(message.contains(&format!("--set {key}={value}")), "{message}");
    }
}

#[test]
fn a_resolved_scenario_reads_back_as_itself() {
    let scenario = with(&[("load.people", "40")]).unwrap();
    assert_eq!(parse(&scenario.to_toml()).unwrap(), scenario);
}

proptest! {
    #[test]
    fn any_text_is_survived(text in ".{0,200}", key in "[a-z.\\[\\]-]{0,20}", value in ".{0,20}") {
        let _ = parse(&text);
        let _ = with(&[(key.as_str(), value.as_str())]);
    }
}
