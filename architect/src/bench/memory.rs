//! What memory one more forked VM takes: what the process has for itself, page tables included, less the pages that the
//! guest has written. The floor's process makes the same number of bare VMs from a snapshot of its own.

use std::fs;
use std::time::Duration;

use introspect::Changed;

use super::floor::Floor;
use super::machine::{at_a, at_b};
use super::measure::Row;
use crate::error::{Error, VmmError};
use vmm::host::kvm::Kvm;
use vmm::machine::Model;

/// VMs in one measurement.
const VMS: u32 = 64;
/// Measurements.
const ROUNDS: usize = 5;
const PAGE_KIB: f64 = 4.0;

/// Measures it.
pub(super) fn measure(kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let model = Model::of(kvm)?;
    let floor = Floor::new()?;
    let mut values = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let snapshot = at_a((kvm, &model), 16)?;
        let mut forks = vec![at_b((kvm, &model), &snapshot)?];
        let before = own_kib("self")?;
        for _ in 0..VMS {
            forks.push(at_b((kvm, &model), &snapshot)?);
        }
        let after = own_kib("self")?;
        let mut written = 0;
        for fork in &mut forks[1..] {
            let mut changed = Changed::nothing();
            fork.take_written(&mut changed);
            written += changed.frames().count();
        }
        values[0].push((after - before - written as f64 * PAGE_KIB) / f64::from(VMS));

        let mut attendant = floor.attend()?;
        let process = attendant.pid().to_string();
        attendant.measure(b'v', 1)?;
        let before = own_kib(&process)?;
        attendant.measure(b'v', VMS)?;
        values[1].push((own_kib(&process)? - before - written as f64 * PAGE_KIB) / f64::from(VMS));
        // Its VMs go by themselves; the next round need not wait for the kernel to be rid of them.
        drop(attendant);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(vec![Row::of("vm-memory", "KiB", values)])
}

/// What a process has for itself, KiB: private pages, and page tables.
fn own_kib(process: &str) -> Result<f64, Error> {
    let sum = |file: &str, keys: &[&str]| -> std::io::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{process}/{file}"))?;
        let values = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            keys.contains(&key).then(|| value.trim().trim_end_matches(" kB").parse::<f64>().ok())?
        });
        Ok(values.sum::<f64>())
    };
    let pages = sum("smaps_rollup", &["Private_Clean", "Private_Dirty"]);
    let both = pages.and_then(|pages| Ok(pages + sum("status", &["VmPTE"])?));
    both.map_err(|error| VmmError::resource("what a process has")(error).into())
}
