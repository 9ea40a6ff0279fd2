//! What auditing at every tick costs a guest: a healthy Matrix under some load for so many ticks, its trace taken at each
//! tick, with an audit at each tick and without. Both start from the same snapshot.

use std::io;
use std::time::{Duration, Instant};

use abi::info::Doorbell;
use introspect::Changed;

use super::measure::Row;
use crate::analysis::observer::Observer;
use crate::error::{Error, VmmError};
use crate::experiment::{Warm, machine_config};
use crate::scenario::Scenario;
use vmm::host::kvm::Kvm;
use vmm::machine::pool::Pool;
use vmm::machine::{Event, MachineConfig, Model};

const ROUNDS: usize = 7;
const TICKS: u64 = 100;
/// The slowest known host boots in a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures it.
pub(super) fn measure(kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let model = Model::of(kvm)?;
    let text = include_str!("../../../scenarios/healthy.toml");
    let scenario = Scenario::parse(text, "healthy.toml", None, &[])?;
    let config = machine_config(&scenario, None)?;
    let warm = Warm::boot(kvm, &model, &config, PATIENCE)?
        .ok_or_else(|| VmmError::Probe("the Matrix did not boot".into()))?;
    let pool = Pool::new();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (times, audited) in times.iter_mut().zip([true, false]) {
            times.push(one(&warm, &pool, ((kvm, &model), &config, &scenario), audited)?);
        }
    }
    Ok(vec![Row::of("overhead", "ms", times)])
}

/// Milliseconds of one run.
fn one(
    warm: &Warm,
    pool: &Pool,
    (host, config, scenario): ((&Kvm, &Model), &MachineConfig, &Scenario),
    audited: bool,
) -> Result<f64, Error> {
    let failed = |what: String| VmmError::Probe(what);
    let mut machine = warm.fork(pool, host, config, io::sink())?;
    let mut observer: Option<Observer> = None;
    let everything = Changed::everything();
    let begin = Instant::now();
    loop {
        match machine.step()? {
            Event::Doorbell { reason: Doorbell::Hello, page } => {
                let attached = Observer::attach(machine.memory(), page, scenario.audit);
                observer = Some(attached.map_err(|error| failed(error.to_string()))?);
            }
            Event::Doorbell { reason, .. } => {
                let Some(observer) = &mut observer else { continue };
                observer.drain(machine.memory(), |_| {});
                if reason != Doorbell::Tick {
                    continue;
                }
                let now = observer.now(machine.memory());
                if audited {
                    if observer.scans_at(now) {
                        observer.processor_has(abi::GuestPhys(machine.registers()?.system.cr3));
                    }
                    let audit = observer.audit(machine.memory(), &everything);
                    audit.map_err(|error| failed(error.to_string()))?;
                }
                if now >= TICKS {
                    break;
                }
            }
            Event::OutputWaits | Event::WatchdogChanged => {}
            event => return Err(failed(format!("{event:?}")).into()),
        }
    }
    let time = begin.elapsed();
    pool.keep(machine);
    Ok(time.as_secs_f64() * 1e3)
}
