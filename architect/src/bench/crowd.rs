//! A guest with two hundred processes, booted for the purpose: the Matrix itself, under a load that stands still.

use std::io;
use std::time::Duration;

use abi::info::Doorbell;

use crate::analysis::observer::Observer;
use crate::error::{Error, VmmError};
use crate::experiment::machine_config;
use crate::scenario::{AuditKeys, Scenario};
use vmm::host::kvm::Kvm;
use vmm::machine::{Event, Machine, Model};
use vmm::wall::{Wall, WallConfig};

/// Processes that it has at least.
pub(super) const PROCESSES: u32 = 200;
/// Ticks in which the last ones to come do what they do first.
const SETTLE_TICKS: u64 = 50;
/// The slowest known host needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(120);

/// The guest, standing still at a doorbell, and who watches it.
pub(super) struct Crowd {
    pub(super) machine: Machine<io::Sink>,
    pub(super) observer: Observer,
}

impl Crowd {
    /// Boots it; that takes some seconds on a host that interprets ring 0.
    pub(super) fn gather(kvm: &Kvm) -> Result<Self, Error> {
        let scenario = Scenario::parse(include_str!("crowd.toml"), "crowd.toml", None, &[])?;
        let config = machine_config(&scenario, None)?;
        let mut machine = Machine::new(kvm, &Model::of(kvm)?, &config, io::sink())?;
        let (wall, _events) = Wall::spawn(WallConfig { timeout: Some(LIMIT), ..WallConfig::default() })?;
        machine.attach(wall.kick());
        let failed = |what: String| Error::from(VmmError::Probe(what));
        let mut observer = None;
        let mut complete_at = None;
        loop {
            match machine.step()? {
                Event::Doorbell { reason: Doorbell::Hello, page } => {
                    // What is measured is the audit of what is known.
                    let keys = AuditKeys { roots_every: 0, ..AuditKeys::default() };
                    let attached = Observer::attach(machine.memory(), page, keys);
                    observer = Some(attached.map_err(|error| failed(error.to_string()))?);
                }
                Event::Doorbell { reason, .. } => {
                    let Some(watching) = &mut observer else { continue };
                    watching.drain(machine.memory(), |_| {});
                    let info = watching.info(machine.memory());
                    if info.alive >= PROCESSES {
                        complete_at.get_or_insert(info.tick);
                    }
                    let settled = complete_at.is_some_and(|since| info.tick >= since + SETTLE_TICKS);
                    if reason == Doorbell::Tick && settled {
                        break;
                    }
                }
                Event::OutputWaits => machine.flush_console()?,
                Event::WatchdogChanged => {}
                event => return Err(failed(format!("{event:?}, before there were {PROCESSES} processes"))),
            }
        }
        match observer {
            Some(observer) => Ok(Self { machine, observer }),
            None => Err(failed("it never said hello".into())),
        }
    }
}
