//! Walls and machines leave nothing behind: no descriptor, no thread, no mapping. One test, so that nothing
//! else in this process opens anything meanwhile.

use std::fs;

use vmm::machine::Machine;
use vmm::machine::tiny;
use vmm::probe;
use vmm::wall::{Wall, WallConfig};

use common::Host;

mod common;

fn count(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn kvm_mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains("kvm")).count()
}

#[test]
fn nothing_is_left_behind() {
    let everything = WallConfig { signals: true, stdin: false, ..WallConfig::default() };
    // The first wall creates what belongs to the process.
    drop(Wall::spawn(everything).unwrap());
    let before = (count("/proc/self/fd"), count("/proc/self/task"), kvm_mappings());

    for _ in 0..20 {
        drop(Wall::spawn(everything).unwrap());
    }
    assert_eq!((count("/proc/self/fd"), count("/proc/self/task"), kvm_mappings()), before);

    let host = Host::new();
    let config = tiny::config("probe", &probe::PROBE, 16).unwrap();
    for _ in 0..20 {
        let mut machine = Machine::new(&host.kvm, &host.model, &config, Vec::new()).unwrap();
        let _ = machine.step().unwrap();
    }
    drop(host);
    assert_eq!((count("/proc/self/fd"), count("/proc/self/task"), kvm_mappings()), before);
}
