//! What exits, resets, forks and the end of a VM cost.
//!
//! `exit` is one write to the doorbell's port, taken by the bus and told as an event. `reset-N` is the way of a guest
//! that has written N pages back to its snapshot, up to its next exit. `reset-own` is that of `reset-16` beside a floor that
//! makes the same calls, so that what is left is ours, and `reset-blind` beside one that makes those without a look at state
//! that may have changed. `fork` is the way from nothing but the snapshot to the first exit of a new VM. `teardown` is the
//! end of a VM with all that a run of it has: the thread that watches real time, descriptors, mappings. Their floors do the
//! same in bare calls, and put back registers only.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use devices::watchdog::{Stages, Timeout};

use super::floor::{Attendant, Floor};
use super::guest;
use super::measure::{Row, microseconds};
use crate::error::{Error, VmmError};
use vmm::host::kvm::Kvm;
use vmm::machine::snapshot::Snapshot;
use vmm::machine::tiny;
use vmm::machine::{Event, Machine, Model};
use vmm::wall::{Wall, WallConfig};

type Guest = Machine<io::Sink>;

/// Exits that are timed together.
const EXITS: u32 = 1000;

/// Measures `exit`.
pub(super) fn exit(kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let mut floor = Floor::new()?.attend()?;
    let mut guest = Machine::new(kvm, &Model::of(kvm)?, &guest::config(&guest::RINGER)?, io::sink())?;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..101 {
        ring(&mut guest)?;
        let begin = Instant::now();
        for _ in 0..EXITS {
            ring(&mut guest)?;
        }
        times[0].push(microseconds(begin.elapsed()) / f64::from(EXITS));
        times[1].push(floor.measure(b'e', EXITS)?);
    }
    Ok(vec![Row::of("exit", "us", times)])
}

/// Measures `reset-16`, `reset-256`, `reset-2048`, `reset-own` and `reset-blind`.
pub(super) fn reset(kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let (model, mut floor) = (Model::of(kvm)?, Floor::new()?.attend()?);
    [
        ("reset-16", 16, 1000, b'r'),
        ("reset-256", 256, 400, b'r'),
        ("reset-2048", 2048, 60, b'r'),
        ("reset-own", 16, 1000, b's'),
        ("reset-blind", 16, 1000, b'b'),
    ]
    .map(|(name, pages, n, command)| reset_of(name, (pages, n), (kvm, &model), (&mut floor, command)))
    .into_iter()
    .collect()
}

fn reset_of(
    name: &'static str,
    (pages, n): (u32, u32),
    (kvm, model): (&Kvm, &Model),
    (floor, command): (&mut Attendant, u8),
) -> Result<Row, Error> {
    let snapshot = at_a((kvm, model), pages)?;
    let mut guest = at_b((kvm, model), &snapshot)?;
    let mut times = [Vec::new(), Vec::new()];
    // The first round is for what is found out once.
    for round in 0..=n {
        ring(&mut guest)?;
        let begin = Instant::now();
        guest.restore(kvm, model, &snapshot)?;
        ring(&mut guest)?;
        let (ours, theirs) = (microseconds(begin.elapsed()), floor.measure(command, pages)?);
        if round > 0 {
            times[0].push(ours);
            times[1].push(theirs);
        }
    }
    Ok(Row::of(name, "us", times))
}

/// Measures `fork`.
pub(super) fn fork(kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let (model, mut floor) = (Model::of(kvm)?, Floor::new()?.attend()?);
    let host = (kvm, &model);
    let snapshot = at_a(host, 16)?;
    drop(at_b(host, &snapshot)?);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        let begin = Instant::now();
        let guest = at_b(host, &snapshot)?;
        times[0].push(microseconds(begin.elapsed()));
        drop(guest);
        times[1].push(floor.measure(b'f', 0)?);
    }
    Ok(vec![Row::of("fork", "us", times)])
}

/// Measures `teardown`.
pub(super) fn teardown(kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let (model, mut floor) = (Model::of(kvm)?, Floor::new()?.attend()?);
    let host = (kvm, &model);
    let snapshot = at_a(host, 16)?;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        let (wall, _events) = Wall::spawn(WallConfig::default())?;
        let mut guest = at_b(host, &snapshot)?;
        guest.attach(wall.kick());
        let begin = Instant::now();
        wall.stop();
        drop(guest);
        drop(wall);
        times[0].push(microseconds(begin.elapsed()));
        times[1].push(floor.measure(b't', 0)?);
    }
    Ok(vec![Row::of("teardown", "us", times)])
}

/// The snapshot at A of a guest that writes so many pages.
pub(super) fn at_a((kvm, model): (&Kvm, &Model), pages: u32) -> Result<Arc<Snapshot>, Error> {
    let config = guest::config(&guest::writer(pages))?;
    let mut guest = Machine::new_for_snapshots(kvm, model, &config, io::sink())?;
    tiny::enter_kernel(&mut guest)?;
    ring(&mut guest)?;
    Ok(Arc::new(guest.snapshot()?))
}

/// A new VM from there, at B.
pub(super) fn at_b((kvm, model): (&Kvm, &Model), snapshot: &Arc<Snapshot>) -> Result<Guest, Error> {
    let mut guest = Machine::fork(kvm, model, snapshot, (Timeout::Ticks(1), Stages::default()), io::sink())?;
    ring(&mut guest)?;
    Ok(guest)
}

fn ring(guest: &mut Guest) -> Result<(), Error> {
    match guest.step()? {
        Event::Doorbell { .. } => Ok(()),
        event => Err(VmmError::Probe(format!("{event:?} instead of a doorbell")).into()),
    }
}
