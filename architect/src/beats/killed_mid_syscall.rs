//! `killed-mid-syscall`: an Agent is killed in the middle of a system call and started again from the page it left.

use std::collections::BTreeMap;

use abi::process::State;
use abi::trace::{Kind, Record};
use abi::{Frame, Pid};
use serde_json::{Value, json};

use super::detector::Detector;
use super::known::Known;

/// Most deaths that wait for a restart; of more the oldest is forgotten.
const MOST_DEATHS: usize = 64;

/// Reached when all of this happens in one incarnation, in this order:
///
/// 1. a process is given an Agent's state page (event `attached`);
/// 2. it is killed by another process (event `kill` with a `by`; a tag kills, too) that is root: by its descriptor at
///    the last audit, or by its birth if none has seen it. At the last audit before that its descriptor said that it
///    waited inside a system call;
/// 3. its service is started again (event `restarted`);
/// 4. the new process is given the same frame for its state page (`attached`), and the frame was neither freed nor
///    given out meanwhile: the page is as it was left.
#[derive(Default)]
pub(super) struct KilledMidSyscall {
    /// By slot, so that there are no more than slots.
    agents: BTreeMap<usize, (Pid, Frame)>,
    deaths: Vec<Death>,
}

struct Death {
    victim: Pid,
    frame: Frame,
    heir: Option<Pid>,
    evidence: Value,
}

/// Whether a process in this state is inside a system call: every wait is one.
fn is_in_call(state: State) -> bool {
    matches!(
        state,
        State::Sleeping
            | State::Sending
            | State::Receiving
            | State::AwaitingReply
            | State::Waiting
            | State::Gated
            | State::Collecting
    )
}

impl KilledMidSyscall {
    fn killed(&mut self, record: &Record, known: &Known) {
        let (victim, by) = (record.pid, Pid(record.b as u32));
        let agent = self.agents.get(&victim.slot()).filter(|(pid, _)| *pid == victim);
        let Some((_, frame)) = agent.copied() else { return };
        let descriptor = known.descriptor(victim);
        let state = descriptor.and_then(|descriptor| State::from_raw(descriptor.state));
        let (Some(descriptor), Some(state)) = (descriptor, state.filter(|state| is_in_call(*state))) else {
            return;
        };
        if by == Pid::NONE || by == victim || !known.is_root(by) {
            return;
        }
        if self.deaths.len() == MOST_DEATHS {
            self.deaths.remove(0);
        }
        let evidence = json!({
            "agent": known.who(victim),
            "killed_by": known.who(by),
            "killed_tick": record.tick,
            "state": state.name(),
            "since": descriptor.since,
            "rip": format!("{:#x}", descriptor.context.rip),
            "call": descriptor.context.rax,
            "state_page": frame.to_string(),
            "physical": frame.base().to_string(),
        });
        self.deaths.push(Death { victim, frame, heir: None, evidence });
    }

    fn attached(&mut self, record: &Record, known: &Known) -> Option<Value> {
        let frame = Frame(record.b);
        self.agents.insert(record.pid.slot(), (record.pid, frame));
        let mut deaths = self.deaths.iter_mut();
        let death = deaths.find(|death| death.heir == Some(record.pid) && death.frame == frame)?;
        let mut evidence = death.evidence.take();
        evidence["restarted_as"] = known.who(record.pid);
        Some(evidence)
    }
}

impl Detector for KilledMidSyscall {
    fn event(&mut self, record: &Record, known: &Known) -> Option<Value> {
        match Kind::from_raw(record.kind)? {
            Kind::Attached => return self.attached(record, known),
            Kind::Kill => self.killed(record, known),
            Kind::Restarted => {
                let before = Pid(record.b as u32);
                let heirs = self.deaths.iter_mut().filter(|death| death.victim == before);
                heirs.for_each(|death| death.heir = Some(record.pid));
            }
            Kind::Freed | Kind::Given => self.deaths.retain(|death| death.frame.0 != record.b),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};

    const PAGE: u64 = 77;

    /// An Agent (1) in this state, a root process (2) and one of the people (3).
    fn world(state: State) -> World<KilledMidSyscall> {
        let mut world = World::new();
        for (slot, uid) in [(1, 0), (2, 0), (3, 1000)] {
            world.process(slot, uid, 0);
        }
        world.descriptor(pid(1)).state = state as u8;
        assert_eq!(world.event(Kind::Attached, 1, pid(1), [0, PAGE, 0]), None);
        assert_eq!(world.audit(2), None);
        world
    }

    fn kill(world: &mut World<KilledMidSyscall>, by: Pid) {
        assert_eq!(world.event(Kind::Kill, 3, pid(1), [0, by.0.into(), 0]), None);
    }

    fn restart(world: &mut World<KilledMidSyscall>, before: Pid, page: u64) -> Option<Value> {
        assert_eq!(world.event(Kind::Restarted, 4, pid(5), [0, before.0.into(), 1]), None);
        world.event(Kind::Attached, 5, pid(5), [0, page, 0])
    }

    #[test]
    fn killed_by_root_while_it_waits_and_warm_again() {
        for state in [State::Sending, State::AwaitingReply, State::Gated, State::Collecting, State::Sleeping]
        {
            let mut world = world(state);
            kill(&mut world, pid(2));
            let evidence = restart(&mut world, pid(1), PAGE).unwrap();
            assert_eq!(
                (&evidence["state"], &evidence["killed_by"]["pid"]),
                (&state.name().into(), &"2.1".into())
            );
            assert_eq!(
                (&evidence["restarted_as"]["pid"], &evidence["state_page"]),
                (&"5.1".into(), &"0x4d".into())
            );
        }
    }

    #[test]
    fn nearly_killed_in_a_call() {
        let killed = |state, by| {
            let mut world = world(state);
            kill(&mut world, by);
            restart(&mut world, pid(1), PAGE)
        };
        assert_eq!(killed(State::Running, pid(2)), None, "not in a call");
        assert_eq!(killed(State::Ready, pid(2)), None, "not in a call");
        assert_eq!(killed(State::Sending, pid(3)), None, "not by root");
        assert_eq!(killed(State::Sending, pid(1)), None, "by itself");
        assert_eq!(killed(State::Sending, Pid::NONE), None, "by the monitor");
        assert_eq!(killed(State::Sending, pid(9)), None, "by nobody that is known");
    }

    #[test]
    fn nearly_restarted_from_the_page() {
        let restarted = |before, page| {
            let mut world = world(State::Sending);
            kill(&mut world, pid(2));
            restart(&mut world, before, page)
        };
        assert_eq!(restarted(pid(3), PAGE), None, "another's service");
        assert_eq!(restarted(pid(1), PAGE + 1), None, "a page of its own");
        for kind in [Kind::Freed, Kind::Given] {
            let mut world = world(State::Sending);
            kill(&mut world, pid(2));
            assert_eq!(world.event(kind, 3, pid(2), [0, PAGE, 0]), None);
            assert_eq!(restart(&mut world, pid(1), PAGE), None, "the page had been given away");
        }
    }

    #[test]
    fn one_of_the_people_is_no_agent() {
        let mut world = world(State::Sending);
        world.descriptor(pid(3)).state = State::Sending as u8;
        assert_eq!(world.audit(2), None);
        assert_eq!(world.event(Kind::Kill, 3, pid(3), [0, pid(2).0.into(), 0]), None);
        assert_eq!(restart(&mut world, pid(3), PAGE), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut world = world(State::Sending);
        (0..10 * MOST_DEATHS).for_each(|_| kill(&mut world, pid(2)));
        assert_eq!(world.detector.deaths.len(), MOST_DEATHS);
    }
}
