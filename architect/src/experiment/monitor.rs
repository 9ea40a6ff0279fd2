//! The monitor (the Architect): checks that processes and services make progress, and orders kills and
//! restarts.
//!
//! It reads guest memory: a descriptor says since when its process has been waiting for others. A process
//! without progress for several checks in a row is considered wedged and killed; a service that has ended is
//! restarted. Supervisors everywhere do both, because most hung processes never recover by themselves. So the
//! monitor checks often and waits briefly.
//!
//! It cannot see whether a process is wedged or only waits its turn. Under load all processes wait, so it
//! kills some whose answer was on its way, and its restarts need memory when there is none. With the fix
//! `monitor` it measures the load first: above a threshold it orders nothing, audits rarely, and checks at
//! growing intervals.

use std::collections::BTreeSet;

use abi::Pid;
use abi::info::{COMMAND_KILL, COMMAND_RESTART, Command};
use abi::process::{Descriptor, State};
use abi::service::SERVICE_DOWN;
use introspect::matrix::guest::Guest;

use crate::scenario::MonitorKeys;

/// Ticks between two audits while it holds back.
const RARE_AUDITS: u64 = 8;
/// The longest interval between two checks while it holds back, in periods; the interval doubles up to this.
const LONGEST_PERIODS: u64 = 64;

/// An order of the monitor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// End a process that has waited for so many ticks.
    Kill {
        /// The process.
        pid: Pid,
        /// How long it has waited.
        waited: u64,
    },
    /// Restart a service.
    Restart {
        /// Its place in the service table.
        service: u32,
        /// The process that it last had.
        last: Pid,
    },
}

impl Order {
    /// The order as the guest takes it.
    pub fn command(self) -> Command {
        match self {
            Self::Kill { pid, .. } => Command { what: COMMAND_KILL, subject: pid.0 },
            Self::Restart { service, .. } => Command { what: COMMAND_RESTART, subject: service },
        }
    }
}

/// The monitor of one incarnation.
pub struct Monitor {
    keys: MonitorKeys,
    /// Whether it measures the load before it acts.
    mended: bool,
    /// Whether the load was high when it was last measured.
    busy: bool,
    next_audit: u64,
    next_check: u64,
    /// Ticks from one check to the next.
    interval: u64,
    /// Processes whose kill was ordered and that are still in the process table.
    killed: BTreeSet<Pid>,
}

impl Monitor {
    /// A monitor for a guest that starts now.
    pub fn new(keys: MonitorKeys, mended: bool) -> Self {
        let interval = keys.period_ticks;
        Self {
            keys,
            mended,
            busy: false,
            next_audit: 0,
            next_check: interval,
            interval,
            killed: BTreeSet::new(),
        }
    }

    /// Whether an audit is due.
    pub fn wants_audit(&self, tick: u64) -> bool {
        !self.busy || tick >= self.next_audit
    }

    /// Checks the tables that an audit has just read, if a check is due. Returns at most `room` orders; the
    /// others can wait, because a wedged process will still be wedged at the next check.
    pub fn check(&mut self, guest: &Guest, room: usize) -> Vec<Order> {
        if !self.keys.enabled {
            return Vec::new();
        }
        let now = guest.info.tick;
        let load = descriptors(guest).filter(|d| State::from_raw(d.state) == Some(State::Ready)).count();
        self.busy = self.mended && load as u64 > u64::from(self.keys.max_load);
        self.next_audit = now.saturating_add(RARE_AUDITS);
        if now < self.next_check {
            return Vec::new();
        }
        let period = self.keys.period_ticks;
        self.interval = match self.busy {
            true => self.interval.saturating_mul(2).min(period.saturating_mul(LONGEST_PERIODS)),
            false => period,
        };
        self.next_check = now.saturating_add(self.interval);
        if self.busy { Vec::new() } else { self.orders(guest, now, room) }
    }

    fn orders(&mut self, guest: &Guest, now: u64, room: usize) -> Vec<Order> {
        let limit = self.keys.period_ticks.saturating_mul(self.keys.missed_before_restart);
        self.killed.retain(|pid| guest.process(*pid).is_some());
        let killed = &self.killed;
        let kills = descriptors(guest).filter_map(|d| {
            let waited = now.saturating_sub(d.since);
            let wedged = d.ring != 0 && waits_for_others(d) && waited > limit && !killed.contains(&d.pid);
            wedged.then_some(Order::Kill { pid: d.pid, waited })
        });
        let restarts = guest.services.iter().zip(0..).filter(|(service, _)| service.state == SERVICE_DOWN);
        let restarts = restarts.map(|(service, place)| Order::Restart { service: place, last: service.pid });
        let orders: Vec<_> = kills.chain(restarts).take(room).collect();
        self.killed.extend(orders.iter().filter_map(|order| match order {
            Order::Kill { pid, .. } => Some(*pid),
            Order::Restart { .. } => None,
        }));
        orders
    }
}

fn descriptors(guest: &Guest) -> impl Iterator<Item = &Descriptor> {
    guest.processes.iter().map(|process| &process.descriptor)
}

/// Whether the process waits for others. A process that sleeps, or a server without a request, is
/// well.
fn waits_for_others(descriptor: &Descriptor) -> bool {
    matches!(
        State::from_raw(descriptor.state),
        Some(State::Ready | State::Sending | State::AwaitingReply | State::Gated)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::Frame;
    use abi::service::{SERVICE_DONE, SERVICE_NONE, SERVICE_RUNS, Service};
    use introspect::matrix::guest::Process;
    use zerocopy::FromZeros;

    const KEYS: MonitorKeys =
        MonitorKeys { enabled: true, period_ticks: 10, missed_before_restart: 3, max_load: 2 };
    const ROOM: usize = 16;

    fn guest(tick: u64) -> Guest {
        let mut guest = Guest::default();
        guest.info.tick = tick;
        guest
    }

    fn add(guest: &mut Guest, slot: usize, ring: u8, state: State, since: u64) -> Pid {
        let mut descriptor = Descriptor::new_zeroed();
        descriptor.pid = Pid::new(slot, 1);
        (descriptor.ring, descriptor.state, descriptor.since) = (ring, state as u8, since);
        guest.processes.push(Process { frame: Frame(0), descriptor });
        descriptor.pid
    }

    fn crowd(tick: u64, ready: usize) -> Guest {
        let mut guest = guest(tick);
        for slot in 1..=ready {
            add(&mut guest, slot, 3, State::Ready, tick);
        }
        guest
    }

    fn services(states: &[u8]) -> Vec<Service> {
        states.iter().map(|state| Service { state: *state, ..Service::default() }).collect()
    }

    #[test]
    fn a_process_that_waits_too_long_for_others_is_killed_once() {
        let mut guest = guest(100);
        let mut wedged = Vec::new();
        for (slot, state) in State::ALL.into_iter().enumerate() {
            let pid = add(&mut guest, slot + 1, 3, state, 69);
            if matches!(state, State::Ready | State::Sending | State::AwaitingReply | State::Gated) {
                wedged.push(Order::Kill { pid, waited: 31 });
            }
            add(&mut guest, slot + 101, 3, state, 70);
            add(&mut guest, slot + 201, 0, state, 0);
        }
        guest.processes.sort_by_key(|process| process.descriptor.pid.slot());
        let mut monitor = Monitor::new(KEYS, false);
        assert_eq!(
            monitor.check(&guest, ROOM),
            wedged,
            "no others, no kernel processes, not a tick too early"
        );
        guest.info.tick = 101;
        assert_eq!(monitor.check(&guest, ROOM), [], "the next check comes a period later");
        guest.processes.retain(|process| process.descriptor.pid.slot() < 100);
        guest.info.tick = 110;
        assert_eq!(monitor.check(&guest, ROOM), [], "no process is killed twice");
    }

    #[test]
    fn a_damaged_time_is_no_reason_to_kill() {
        let mut guest = guest(100);
        add(&mut guest, 1, 3, State::Ready, u64::MAX);
        assert_eq!(Monitor::new(KEYS, false).check(&guest, ROOM), []);
    }

    #[test]
    fn services_that_are_down_are_restarted_at_every_check() {
        let mut guest = guest(10);
        guest.services =
            services(&[SERVICE_NONE, SERVICE_DOWN, SERVICE_RUNS, SERVICE_DONE, SERVICE_DOWN, 77]);
        let mut monitor = Monitor::new(KEYS, false);
        for tick in [10, 20] {
            guest.info.tick = tick;
            let places: Vec<_> = monitor.check(&guest, ROOM).into_iter().map(Order::command).collect();
            let expected = [1, 4].map(|subject| Command { what: COMMAND_RESTART, subject });
            assert_eq!(places, expected);
        }
    }

    #[test]
    fn no_more_is_ordered_than_there_is_room_for_and_the_rest_comes_later() {
        let mut guest = guest(100);
        let pids: Vec<_> = (1..=3).map(|slot| add(&mut guest, slot, 3, State::Sending, 0)).collect();
        let mut monitor = Monitor::new(KEYS, false);
        let mut killed = Vec::new();
        for tick in [100, 110, 120, 130] {
            guest.info.tick = tick;
            let orders = monitor.check(&guest, usize::from(tick != 110));
            killed.push(orders.iter().map(|order| order.command().subject).collect::<Vec<_>>());
        }
        assert_eq!(killed, [vec![pids[0].0], vec![], vec![pids[1].0], vec![pids[2].0]]);
    }

    #[test]
    fn a_monitor_as_built_never_holds_back() {
        let mut monitor = Monitor::new(KEYS, false);
        let mut guest = crowd(10, 200);
        guest.services = services(&[SERVICE_DOWN]);
        assert_eq!(monitor.check(&guest, ROOM).len(), 1);
        assert!(monitor.wants_audit(11));
    }

    #[test]
    fn a_mended_monitor_holds_back_longer_and_longer_under_load() {
        let mut monitor = Monitor::new(KEYS, true);
        let mut checks = Vec::new();
        for tick in 10..1000 {
            let mut guest = crowd(tick, 3);
            guest.services = services(&[SERVICE_DOWN]);
            let next = monitor.next_check;
            assert_eq!(monitor.check(&guest, ROOM), []);
            if monitor.next_check != next {
                checks.push(tick);
            }
        }
        assert_eq!(checks, [10, 30, 70, 150, 310, 630]);
        // 630 + 640: then the load is gone, and the interval is short again.
        let mut calm = crowd(1270, 2);
        calm.services = services(&[SERVICE_DOWN]);
        assert_eq!(monitor.check(&calm, ROOM).len(), 1);
        calm.info.tick = 1280;
        assert_eq!(monitor.check(&calm, ROOM).len(), 1);
    }

    #[test]
    fn a_mended_monitor_audits_rarely_under_load() {
        let mut monitor = Monitor::new(KEYS, true);
        let mut audits = Vec::new();
        for tick in 1..=40 {
            if monitor.wants_audit(tick) {
                audits.push(tick);
                let _ = monitor.check(&crowd(tick, if tick < 30 { 3 } else { 0 }), ROOM);
            }
        }
        assert_eq!(audits, [1, 9, 17, 25, 33, 34, 35, 36, 37, 38, 39, 40]);
    }

    #[test]
    fn without_a_monitor_nothing_is_ordered_and_every_audit_is_due() {
        let mut monitor = Monitor::new(MonitorKeys { enabled: false, ..KEYS }, true);
        let mut guest = crowd(1000, 50);
        guest.services = services(&[SERVICE_DOWN]);
        assert_eq!(monitor.check(&guest, ROOM), []);
        assert!(monitor.wants_audit(1001));
    }
}
