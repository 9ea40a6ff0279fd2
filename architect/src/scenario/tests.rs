//! Scenarios, right and wrong.

use super::*;
use crate::error::Error;
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
fn values_from_the_command_line_come_last() {
    let scenario = with(&[("vm.memory-mib", "24"), ("fixes.pager", "true"), ("name", "y")]).unwrap();
    assert_eq!((scenario.vm.memory_mib, scenario.fixes.pager, scenario.name.as_str()), (24, true, "y"));
    assert_eq!(scenario.seed, 9);
}

#[test]
fn every_fix_of_the_kernel_reaches_it_by_its_name() {
    for fix in ["pager", "ids", "priorities"] {
        let off = with(&[]).unwrap().command_line();
        let on = with(&[(&format!("fixes.{fix}"), "true")]).unwrap().command_line();
        assert!(off.contains(&format!(" fix.{fix}=0 ")), "{off}");
        assert_eq!(on, off.replace(&format!("fix.{fix}=0"), &format!("fix.{fix}=1")));
    }
}

#[test]
fn the_fix_of_the_monitor_is_not_told_to_the_guest() {
    assert_eq!(with(&[]).unwrap().command_line(), with(&[("fixes.monitor", "true")]).unwrap().command_line());
}

#[test]
fn the_guest_is_told_of_the_apic_clock_only() {
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

#[test]
fn a_sweep_has_a_cell_for_each_combination_and_the_last_key_changes_first() {
    let text = "name = \"x\"\n[sweep]\nload.people = [20, 40, 60]\nfixes.pager = [false, true]\nexpect.beats = [[], [\"leak\"]]";
    let scenario = parse(text).unwrap();
    assert_eq!(parse(&scenario.to_toml()).unwrap(), scenario);
    let cells = scenario.cells();
    assert_eq!((cells.len(), scenario.sweep.len()), (12, 12));
    let labels =
        |cell: &Cell| cell.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
    assert_eq!(labels(&cells[0]), ["expect.beats=[]", "fixes.pager=false", "load.people=20"]);
    assert_eq!(labels(&cells[1]), ["expect.beats=[]", "fixes.pager=false", "load.people=40"]);
    assert_eq!(labels(&cells[11]), ["expect.beats=[\"leak\"]", "fixes.pager=true", "load.people=60"]);
    let last = &cells[11].scenario;
    assert!(
        last.fixes.pager && last.load.people == 60 && last.expect.beats.len() == 1 && last.sweep.is_empty()
    );
    let plain = parse("name = \"x\"").unwrap();
    assert_eq!(plain.cells(), [Cell { labels: vec![], scenario: plain.clone() }]);
}

#[test]
fn a_sweep_can_vary_a_key_of_a_fault() {
    let text = "name = \"x\"\n[[fault]]\nwhen = { tick = 5 }\nwhat = { pause = 3 }\n[sweep]\n\"fault[0]\".what.pause = [1, 50]";
    let pauses: Vec<_> =
        parse(text).unwrap().cells().iter().map(|cell| cell.scenario.faults()[0].what).collect();
    assert_eq!(pauses, [1, 50].map(crate::scenario::fault::model::What::Pause));
}

#[test]
fn what_is_drawn_depends_on_seed_and_run_and_can_be_run_again() {
    let text = "name = \"x\"\n[[fault]]\nprobability = 0.5\nwhen = { tick = { uniform = [1, 100000] } }\nwhat = { nmi = true }\n\
                [[fault]]\nwhen = { tick = { uniform = [1, 100000] } }\nwhat = { nmi = true }";
    let scenario = parse(text).unwrap();
    let runs: Vec<_> = (0..40).map(|run| scenario.resolve(run)).collect();
    let both = runs.iter().filter(|run| run.fault.len() == 2).count();
    assert!((8..=32).contains(&both), "{both}");
    for (nth, run) in runs.iter().enumerate() {
        assert_eq!(*run, scenario.resolve(nth as u64));
        assert!(runs[..nth].iter().all(|other| other.fault != run.fault), "each run draws its own");
        assert_eq!(parse(&run.to_toml()).unwrap(), *run);
        assert_eq!(run.resolve(99), *run, "there is nothing left to draw");
    }
    assert_ne!(Scenario { seed: 2, ..scenario.clone() }.resolve(0).fault, runs[0].fault);
    assert_eq!(scenario.golden().fault, []);
}

proptest! {
    #[test]
    fn any_text_is_survived(text in ".{0,200}", key in "[a-z.\\[\\]-]{0,20}", value in ".{0,20}") {
        let _ = parse(&text);
        let _ = with(&[(key.as_str(), value.as_str())]);
    }
}
