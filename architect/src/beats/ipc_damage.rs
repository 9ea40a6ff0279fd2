//! `ipc-damage`: messages are damaged, or their senders wait for each other.

use abi::Pid;
use abi::process::{Descriptor, State};
use abi::trace::{Kind, Record};
use introspect::matrix::guest::Guest;
use serde_json::{Value, json};

use super::detector::{Detector, View};
use super::known::Known;

/// Ticks that a cycle must stand. A waiter at the gateway names one of those who hold buffers; within some ticks one of
/// the others may have given up his.
const STANDS: u64 = 8;

/// Reached in one of two ways:
///
/// - a datagram is collected whose checksum is not the one it was sent with (event `damaged`);
/// - processes wait for each other in a circle, one of them at least at the gateway for a buffer, and [`STANDS`] ticks
///   or more after an audit has first seen it another one finds the same circle, in which nobody has moved: each is in
///   the same state since the same tick and waits for the same peer. Waits that count are those at the gateway, for a
///   receiver and for a reply.
#[derive(Default)]
pub(super) struct IpcDamage {
    /// Cycles of the last audit, each with the tick at which it was first seen. No more than there are processes.
    standing: Vec<(Vec<Link>, u64)>,
}

/// One who waits for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Link {
    pid: Pid,
    state: State,
    since: u64,
    peer: Pid,
}

impl Link {
    fn of(descriptor: &Descriptor) -> Option<Self> {
        let Descriptor { pid, state, since, peer, .. } = *descriptor;
        let state = State::from_raw(state)?;
        let waits = matches!(state, State::Gated | State::Sending | State::AwaitingReply);
        (waits && peer != Pid::NONE).then_some(Self { pid, state, since, peer })
    }
}

/// The circles that lead through the gateway, each once: from its waiter at the gateway with the lowest pid on.
fn cycles(guest: &Guest) -> Vec<Vec<Link>> {
    let gated = guest.processes.iter().filter_map(|process| Link::of(&process.descriptor));
    let mut cycles = Vec::new();
    // Everybody waits for one at most, so nobody is in two circles; who has been passed need not be passed again.
    let mut passed = std::collections::BTreeSet::new();
    for start in gated.filter(|link| link.state == State::Gated) {
        let (mut path, mut next) = (Vec::new(), Some(start));
        while let Some(link) = next.filter(|link| passed.insert(link.pid.0)) {
            path.push(link);
            next = guest.process(link.peer).and_then(|peer| Link::of(&peer.descriptor));
        }
        let closes = next.and_then(|next| path.iter().position(|link| link.pid == next.pid));
        let Some(mut cycle) = closes.map(|from| path.split_off(from)) else { continue };
        let first = cycle.iter().enumerate().filter(|(_, link)| link.state == State::Gated);
        if let Some((first, _)) = first.min_by_key(|(_, link)| link.pid.0) {
            cycle.rotate_left(first);
            cycles.push(cycle);
        }
    }
    cycles
}

impl Detector for IpcDamage {
    fn event(&mut self, record: &Record, known: &Known) -> Option<Value> {
        (Kind::from_raw(record.kind) == Some(Kind::Damaged)).then(|| {
            json!({
                "what": "damaged",
                "receiver": known.who(record.pid),
                "sender": known.who(Pid(record.b as u32)),
                "port": record.a,
                "sequence": record.c,
            })
        })
    }

    fn audit(&mut self, view: &View<'_>, _known: &Known) -> Option<Value> {
        let before = std::mem::take(&mut self.standing);
        for cycle in cycles(view.guest) {
            let known = before.iter().find(|(known, _)| *known == cycle);
            let since = known.map_or(view.tick, |(_, since)| *since);
            self.standing.push((cycle, since));
        }
        let old = |since: u64| view.tick.saturating_sub(since) >= STANDS;
        let (cycle, first_seen) = self.standing.iter().find(|(_, since)| old(*since))?;
        let link = |link: &Link| {
            json!({
                "process": view.who(link.pid),
                "state": link.state.name(),
                "since": link.since,
                "waits_for": view.who(link.peer),
            })
        };
        let cycle: Vec<_> = cycle.iter().map(link).collect();
        Some(json!({"what": "deadlock", "first_seen": first_seen, "cycle": cycle}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};
    use proptest::prelude::*;

    fn wait(world: &mut World<IpcDamage>, slot: usize, state: State, since: u64, peer: usize) {
        let descriptor = world.descriptor(pid(slot));
        (descriptor.state, descriptor.since, descriptor.peer) = (state as u8, since, pid(peer));
    }

    /// 1 waits at the gateway for 2, who waits for a reply of 3, who waits at the port of 1.
    fn circle() -> World<IpcDamage> {
        let mut world = World::new();
        for slot in 1..=4 {
            world.process(slot, 1000, 0);
        }
        wait(&mut world, 1, State::Gated, 5, 2);
        wait(&mut world, 2, State::AwaitingReply, 6, 3);
        wait(&mut world, 3, State::Sending, 7, 1);
        wait(&mut world, 4, State::Sending, 7, 1);
        world
    }

    #[test]
    fn a_damaged_datagram_is_enough() {
        let mut world = circle();
        assert_eq!(world.event(Kind::Datagram, 1, pid(1), [9, 2, 3]), None);
        let evidence = world.event(Kind::Damaged, 2, pid(1), [9, pid(2).0.into(), 3]).unwrap();
        assert_eq!((&evidence["sender"]["pid"], &evidence["port"]), (&"2.1".into(), &9.into()));
    }

    #[test]
    fn a_circle_through_the_gateway_counts_when_it_stands() {
        let mut world = circle();
        assert_eq!(world.audit(10), None, "seen once");
        assert_eq!(world.audit(17), None, "too briefly");
        let evidence = world.audit(18).unwrap();
        assert_eq!(evidence["first_seen"], 10);
        let pids: Vec<_> =
            evidence["cycle"].as_array().unwrap().iter().map(|l| &l["process"]["pid"]).collect();
        assert_eq!(pids, ["1.1", "2.1", "3.1"], "4 only waits for one of them");
    }

    #[test]
    fn a_circle_in_which_somebody_moved_begins_anew() {
        let mut world = circle();
        assert_eq!(world.audit(10), None);
        wait(&mut world, 3, State::Sending, 12, 1);
        assert_eq!(world.audit(18), None);
        assert!(world.audit(26).is_some());
    }

    #[test]
    fn what_is_no_circle_or_not_about_buffers_does_not_count() {
        let nearly: [(usize, State, usize); 4] = [
            (3, State::Sending, 4),
            (3, State::Receiving, 1),
            (1, State::Sending, 2),
            (2, State::AwaitingReply, 200),
        ];
        for (slot, state, peer) in nearly {
            let mut world = circle();
            wait(&mut world, 4, State::Ready, 7, 1);
            wait(&mut world, slot, state, 5, peer);
            assert!([10, 18, 40].into_iter().all(|tick| world.audit(tick).is_none()), "{slot} {state:?}");
        }
    }

    proptest! {
        /// Held against the plain way: follow the peers from everybody, for as many steps as there are processes.
        #[test]
        fn all_circles_through_the_gateway_are_found(waits in prop::collection::vec((0..4u8, 1..9usize), 8)) {
            let mut world = World::<IpcDamage>::new();
            for (slot, (state, peer)) in (1..).zip(&waits) {
                world.process(slot, 1000, 0);
                let states = [State::Gated, State::Sending, State::AwaitingReply, State::Ready];
                wait(&mut world, slot, states[usize::from(*state)], 0, *peer);
            }
            let next = |slot: usize| (waits[slot - 1].0 != 3).then(|| waits[slot - 1].1);
            let mut expected = std::collections::BTreeSet::new();
            for start in 1..=8 {
                let circle: Vec<_> = std::iter::successors(next(start), |slot| next(*slot)).take(8).collect();
                if let Some(end) = circle.iter().position(|slot| *slot == start) {
                    let members: std::collections::BTreeSet<_> = circle[..=end].iter().copied().collect();
                    if members.iter().any(|slot| waits[slot - 1].0 == 0) {
                        expected.insert(members);
                    }
                }
            }
            let found: Vec<std::collections::BTreeSet<_>> = cycles(&world.guest)
                .iter()
                .map(|cycle| cycle.iter().map(|link| link.pid.slot()).collect())
                .collect();
            prop_assert_eq!(found.len(), expected.len());
            prop_assert!(found.iter().all(|cycle| expected.contains(cycle)));
        }
    }
}
