//! `the-one`: a process is root and urgent, and nobody made it so.

use std::collections::BTreeMap;

use abi::Pid;
use abi::process::State;
use abi::syscall::{GRANT_SLOTS, Grant, Keys};
use abi::trace::{Kind, Record};
use introspect::x86::memory::PhysicalMemory;
use serde_json::{Value, json};

use super::detector::{Detector, View};
use super::known::Known;
use crate::trace::events::pid;

/// The least urgent priority that counts as high.
const HIGH_PRIORITY: u8 = 1;
/// The keys that only root is entitled to.
const ROOT_KEYS: u32 = Keys::WATCHDOG | Keys::AGENT;

/// Reached when at an audit the descriptor of a living process says uid 0 and a priority of its own of
/// [`HIGH_PRIORITY`] or more urgent, the process was made with another uid (event `spawn`), and when an audit first saw
/// it as root no key of root's had been granted to it, neither by the trace (event `grant`) nor by the grant log. Keys
/// granted after that are no excuse: whoever is root gets them for the asking.
#[derive(Default)]
pub(super) struct TheOne {
    /// Keys granted by the trace. By slot, so that there are no more than slots.
    granted: BTreeMap<usize, (Pid, u32)>,
    /// Who has become root, when that was first seen, and whether a key explained it. By slot as well.
    risen: BTreeMap<usize, (Pid, u64, bool)>,
}

/// The entries of the grant log that are about this process.
fn log(view: &View<'_>, subject: Pid) -> Vec<Grant> {
    let mut log = [Grant::default(); GRANT_SLOTS];
    if view.guest.info.grant_log.0 == 0
        || (&view.memory).read_values(view.guest.info.grant_log, &mut log).is_err()
    {
        return Vec::new();
    }
    log.into_iter().filter(|grant| grant.serial != 0 && grant.pid == subject).collect()
}

impl Detector for TheOne {
    fn event(&mut self, record: &Record, _known: &Known) -> Option<Value> {
        if Kind::from_raw(record.kind) == Some(Kind::Grant) {
            let granted = self.granted.entry(record.pid.slot()).or_insert((record.pid, 0));
            if granted.0 != record.pid {
                *granted = (record.pid, 0);
            }
            granted.1 |= record.a;
        }
        None
    }

    fn audit(&mut self, view: &View<'_>, known: &Known) -> Option<Value> {
        view.guest.processes.iter().find_map(|process| {
            let descriptor = &process.descriptor;
            let (who, slot) = (descriptor.pid, descriptor.pid.slot());
            let lives = !matches!(process.state(), None | Some(State::Zombie | State::Embryo));
            if descriptor.uid != 0 || !lives {
                return None;
            }
            let born = known.uid_at_birth(who).filter(|uid| *uid != 0)?;
            let risen = self.risen.get(&slot).filter(|(pid, ..)| *pid == who).copied();
            let (_, since, explained) = risen.unwrap_or_else(|| {
                let traced =
                    self.granted.get(&slot).filter(|(pid, _)| *pid == who).map_or(0, |(_, keys)| *keys);
                let logged = log(view, who).iter().fold(0, |keys, grant| keys | grant.granted);
                (who, view.tick, (traced | logged) & ROOT_KEYS != 0)
            });
            self.risen.insert(slot, (who, since, explained));
            if explained || descriptor.priority > HIGH_PRIORITY {
                return None;
            }
            let grant =
                |grant: Grant| json!({"serial": grant.serial, "granted": grant.granted, "tick": grant.tick});
            Some(json!({
                "process": view.who(who),
                "descriptor": process.frame.to_string(),
                "physical": process.frame.base().to_string(),
                "uid": 0,
                "uid_at_birth": born,
                "parent": pid(descriptor.parent),
                "priority": descriptor.priority,
                "keys": descriptor.keys,
                "root_since": since,
                "grant_log": log(view, who).into_iter().map(grant).collect::<Vec<_>>(),
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};
    use abi::GuestPhys;
    use abi::layout::PAGE_SIZE;
    use zerocopy::IntoBytes;

    const LOG: u64 = 3;

    /// A process that was made with this uid, before anything happens to it.
    fn world(uid: u32) -> World<TheOne> {
        let mut world = World::new();
        world.process(1, uid, 0);
        world.guest.info.grant_log = GuestPhys(LOG * PAGE_SIZE);
        assert_eq!(world.audit(1), None);
        world
    }

    fn rise(world: &mut World<TheOne>, uid: u32, priority: u8) {
        let descriptor = world.descriptor(pid(1));
        (descriptor.uid, descriptor.priority) = (uid, priority);
    }

    fn log_grant(world: &mut World<TheOne>, subject: Pid, granted: u32) {
        let grant = Grant { serial: 5, pid: subject, wanted: granted, granted, tick: 2, reserved: 0 };
        world.fill(LOG, grant.as_bytes());
    }

    #[test]
    fn one_of_the_people_that_is_root_and_urgent() {
        let mut world = world(1000);
        rise(&mut world, 0, 1);
        let evidence = world.audit(7).unwrap();
        assert_eq!((&evidence["process"]["pid"], &evidence["uid_at_birth"]), (&"1.1".into(), &1000.into()));
        assert_eq!((&evidence["root_since"], &evidence["priority"]), (&7.into(), &1.into()));
    }

    #[test]
    fn nearly_the_one() {
        for (born, uid, priority) in [(1000, 0, 2), (1000, 1000, 0), (1000, 1, 0), (0, 0, 0)] {
            let mut world = world(born);
            rise(&mut world, uid, priority);
            assert_eq!(world.audit(7), None, "born {born}, now {uid}, priority {priority}");
        }
        let mut dead = world(1000);
        rise(&mut dead, 0, 0);
        dead.descriptor(pid(1)).state = State::Zombie as u8;
        assert_eq!(dead.audit(7), None);
        let mut unknown = world(1000);
        rise(&mut unknown, 0, 0);
        unknown.descriptor(pid(1)).pid = Pid::new(1, 2);
        assert_eq!(unknown.audit(7), None, "nobody saw this one being born");
    }

    #[test]
    fn a_key_of_roots_explains_it_by_trace_or_log() {
        let mut traced = world(1000);
        assert_eq!(traced.event(Kind::Grant, 2, pid(1), [Keys::AGENT.into(), 0, 0]), None);
        rise(&mut traced, 0, 0);
        assert_eq!(traced.audit(7), None);
        let mut logged = world(1000);
        log_grant(&mut logged, pid(1), Keys::WATCHDOG);
        rise(&mut logged, 0, 0);
        assert_eq!(logged.audit(7), None);
        assert_eq!(logged.audit(8), None, "for good");
    }

    #[test]
    fn other_keys_and_keys_of_others_do_not() {
        let mut world = world(1000);
        log_grant(&mut world, Pid::new(1, 0), Keys::AGENT);
        assert_eq!(world.event(Kind::Grant, 2, Pid::new(1, 0), [Keys::AGENT.into(), 0, 0]), None);
        assert_eq!(world.event(Kind::Grant, 2, pid(1), [Keys::PHONE.into(), 0, 0]), None);
        rise(&mut world, 0, 0);
        assert!(world.audit(7).is_some());
    }

    #[test]
    fn keys_granted_to_who_is_root_already_are_no_excuse() {
        let mut world = world(1000);
        rise(&mut world, 0, 3);
        assert_eq!(world.audit(7), None);
        assert_eq!(world.event(Kind::Grant, 8, pid(1), [Keys::AGENT.into(), 0, 0]), None);
        log_grant(&mut world, pid(1), Keys::AGENT);
        rise(&mut world, 0, 1);
        let evidence = world.audit(9).unwrap();
        assert_eq!((&evidence["root_since"], &evidence["grant_log"][0]["serial"]), (&7.into(), &5.into()));
    }
}
