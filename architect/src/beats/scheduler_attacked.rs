//! `scheduler-attacked`: a kill is aimed at the process that attends to the timer, and nobody attends any more.

use abi::Pid;
use abi::process::State;
use abi::syscall::Call;
use abi::trace::{Kind, Record};
use serde_json::{Value, json};

use super::detector::{Detector, View};
use super::known::Known;

/// Ticks without an acknowledged interrupt that count as the end of the service.
const SILENCE: u64 = 16;

/// Reached when
///
/// 1. a process other than itself tries to end a kernel process that an audit has seen wait for the timer's interrupt:
///    a call to kill it, refused, begun or carried out (events `refused`, whose `first` names the victim, `doomed`, `kill`);
/// 2. from some tick within [`SILENCE`] ticks around the attempt on, for [`SILENCE`] ticks or more, no audit finds that
///    an interrupt was acknowledged (the counter `acknowledged` stands still) and the trace tells of missed ones (event
///    `missed-tick`);
/// 3. the victim is still in the process table, and not dead: the kill did not complete.
#[derive(Default)]
pub(super) struct SchedulerAttacked {
    attempt: Option<Attempt>,
    /// The counter of acknowledged interrupts, and the tick of the audit that saw it move.
    acknowledged: Option<(u64, u64)>,
    /// Interrupts missed since then.
    missed: u64,
}

struct Attempt {
    tick: u64,
    victim: Pid,
    how: &'static str,
    by: Value,
}

impl Detector for SchedulerAttacked {
    fn event(&mut self, record: &Record, known: &Known) -> Option<Value> {
        let (by, victim, how) = match Kind::from_raw(record.kind)? {
            Kind::Missed => {
                self.missed += 1;
                return None;
            }
            Kind::Kill => (Pid(record.b as u32), record.pid, "killed"),
            Kind::Doomed => (Pid(record.b as u32), record.pid, "begun"),
            Kind::Refused if u64::from(record.a) == Call::Kill as u64 => {
                (record.pid, Pid(u32::try_from(record.c).ok()?), "refused")
            }
            _ => return None,
        };
        // Of several in one silence the first counts.
        let tick = record.tick.into();
        let served = self.acknowledged.map_or(0, |(_, tick)| tick);
        let is_old = self.attempt.as_ref().is_none_or(|attempt| attempt.tick <= served);
        if by != victim && is_old && known.attendants().contains(&victim) {
            self.attempt = Some(Attempt { tick, victim, how, by: known.who(by) });
        }
        None
    }

    fn audit(&mut self, view: &View<'_>, _known: &Known) -> Option<Value> {
        let (now, counter) = (view.tick, view.guest.info.counters.acknowledged);
        let (last, since) = self.acknowledged.unwrap_or((counter, now));
        if last != counter || self.acknowledged.is_none() {
            self.acknowledged = Some((counter, now));
            self.missed = 0;
            // It was survived.
            let old = |attempt: &mut Attempt| now > attempt.tick.saturating_add(SILENCE);
            self.attempt.take_if(old);
            return None;
        }
        let Attempt { tick, victim, how, by } = self.attempt.as_ref()?;
        let served_before = since.saturating_add(SILENCE) > *tick;
        let process = view.guest.process(*victim)?;
        let completed = process.state() == Some(State::Zombie);
        if completed || !served_before || now.saturating_sub(since.max(*tick)) < SILENCE || self.missed == 0 {
            return None;
        }
        Some(json!({
            "attacker": by,
            "victim": view.who(*victim),
            "attempt": how,
            "attempt_tick": tick,
            "state": process.state().map(State::name),
            "acknowledged": counter,
            "last_acknowledged_tick": since,
            "missed": self.missed,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};

    /// The timer's process (1), a killer (2) and another (3), at tick 10.
    fn world() -> World<SchedulerAttacked> {
        let mut world = World::new();
        for slot in 1..=3 {
            world.process(slot, 0, 0);
        }
        let descriptor = world.descriptor(pid(1));
        (descriptor.ring, descriptor.state) = (0, State::Attending as u8);
        assert!((1..=10).all(|tick| serve(&mut world, tick).is_none()));
        world
    }

    /// A tick in which the interrupt is acknowledged.
    fn serve(world: &mut World<SchedulerAttacked>, tick: u64) -> Option<Value> {
        world.guest.info.counters.acknowledged += 1;
        world.audit(tick)
    }

    /// A tick in which it is missed.
    fn miss(world: &mut World<SchedulerAttacked>, tick: u64) -> Option<Value> {
        assert_eq!(world.event(Kind::Missed, tick as u32, pid(1), [0, 1, 0]), None);
        world.audit(tick)
    }

    fn attack(world: &mut World<SchedulerAttacked>, tick: u64, victim: Pid) {
        let values = [Call::Kill as u64, 2, victim.0.into()];
        assert_eq!(world.event(Kind::Refused, tick as u32, pid(2), values), None);
    }

    #[test]
    fn an_attempt_after_which_nobody_serves_the_timer() {
        let mut world = world();
        attack(&mut world, 11, pid(1));
        assert!((11..27).all(|tick| miss(&mut world, tick).is_none()));
        let evidence = miss(&mut world, 27).unwrap();
        assert_eq!((&evidence["attacker"]["pid"], &evidence["attempt_tick"]), (&"2.1".into(), &11.into()));
        assert_eq!((&evidence["last_acknowledged_tick"], &evidence["missed"]), (&10.into(), &17.into()));
    }

    #[test]
    fn a_kill_that_was_begun_counts_until_it_completes() {
        let mut world = world();
        assert_eq!(world.event(Kind::Kill, 11, pid(1), [0, pid(3).0.into(), 0]), None);
        world.descriptor(pid(1)).state = State::Zombie as u8;
        assert!((11..60).all(|tick| miss(&mut world, tick).is_none()), "it completed");
        world.descriptor(pid(1)).state = State::Running as u8;
        assert!(miss(&mut world, 60).is_some());
    }

    #[test]
    fn an_attacker_that_does_not_let_go_makes_the_silence_no_shorter() {
        let mut world = world();
        let mut reached = (11..60).filter(|tick| {
            attack(&mut world, *tick, pid(1));
            miss(&mut world, *tick).is_some()
        });
        assert_eq!(reached.next(), Some(27));
    }

    #[test]
    fn nearly_attacked() {
        let after = |victim: Option<Pid>, step: fn(&mut World<SchedulerAttacked>, u64) -> Option<Value>| {
            let mut world = world();
            if let Some(victim) = victim {
                attack(&mut world, 11, victim);
            }
            (11..100).any(|tick| step(&mut world, tick).is_some())
        };
        assert!(after(Some(pid(1)), miss));
        assert!(!after(None, miss), "nobody attacked");
        assert!(!after(Some(pid(3)), miss), "another was attacked");
        assert!(!after(Some(pid(1)), serve), "the timer is served");
        assert!(!after(Some(pid(1)), |world, tick| world.audit(tick)), "there is no timer");
    }

    #[test]
    fn an_attempt_that_was_survived_is_no_cause_of_a_later_silence() {
        let mut world = world();
        attack(&mut world, 11, pid(1));
        assert!((11..40).all(|tick| serve(&mut world, tick).is_none()));
        assert!((40..100).all(|tick| miss(&mut world, tick).is_none()));
    }

    #[test]
    fn an_attempt_on_who_has_long_stopped_is_no_cause_either() {
        let mut world = world();
        assert!((11..40).all(|tick| miss(&mut world, tick).is_none()));
        attack(&mut world, 40, pid(1));
        assert!((40..100).all(|tick| miss(&mut world, tick).is_none()));
    }
}
