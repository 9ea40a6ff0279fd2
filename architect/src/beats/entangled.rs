//! `entangled`: two processes run the same pages, which are not one program's.

use std::collections::BTreeMap;

use abi::Pid;
use abi::frame::FrameKind;
use abi::trace::{Kind, Record};
use introspect::matrix::space::pid as process_of;
use introspect::x86::reverse::Mapped;
use serde_json::{Value, json};

use super::detector::{Detector, View};
use super::known::Known;

/// Ticks from one look to the next: it goes through all frames that are mapped more than once.
const PERIOD: u64 = 4;
/// Most pairs that a look follows.
const MOST_PAIRS: usize = 256;
/// Most frames in the evidence.
const MOST_FRAMES: usize = 8;

/// Reached when at a look two processes have a frame in common that ring 3 can execute in both, and that is not the
/// text of the one program that both are of (the programs differ, or the frame's kind is not program), while they have
/// no frame in common that either maps as data. What is read-only in a program counts as part of it. Two who
/// were both tagged (event `tagged`) are at an Agent's remedy, which is in order. A look takes place at the first audit and then every [`PERIOD`] ticks.
#[derive(Default)]
pub(super) struct Entangled {
    next: u64,
    /// Who was tagged. By slot, so that there are no more than slots.
    tagged: BTreeMap<usize, Pid>,
}

#[derive(Default)]
struct Pair {
    text: Vec<(Mapped, Mapped)>,
    data: bool,
}

impl Detector for Entangled {
    fn event(&mut self, record: &Record, _known: &Known) -> Option<Value> {
        if Kind::from_raw(record.kind) == Some(Kind::Tagged) {
            self.tagged.insert(record.pid.slot(), record.pid);
        }
        None
    }

    fn audit(&mut self, view: &View<'_>, _known: &Known) -> Option<Value> {
        if view.tick < self.next {
            return None;
        }
        self.next = view.tick.saturating_add(PERIOD);
        let pairs = pairs(view);
        let at_a_remedy = |pid: u32| self.tagged.get(&Pid(pid).slot()) == Some(&Pid(pid));
        let (&(one, other), pair) = pairs
            .iter()
            .filter(|(_, pair)| !pair.data)
            .find(|((one, other), _)| !(at_a_remedy(*one) && at_a_remedy(*other)))?;
        let frames = pair.text.iter().take(MOST_FRAMES).map(|(one, other)| {
            let kind = view.guest.fact(one.frame()).and_then(|fact| FrameKind::from_raw(fact.kind));
            json!({
                "frame": one.frame().to_string(),
                "physical": one.frame().base().to_string(),
                "kind": kind.map(FrameKind::name),
                "virtual": [one.virt().to_string(), other.virt().to_string()],
                "entries": [one.entry().to_string(), other.entry().to_string()],
            })
        });
        Some(json!({
            "processes": [view.who(Pid(one)), view.who(Pid(other))],
            "programs": [program(view, Pid(one)), program(view, Pid(other))],
            "frames": frames.collect::<Vec<_>>(),
            "frames_shared": pair.text.len(),
        }))
    }
}

fn program(view: &View<'_>, pid: Pid) -> Option<u32> {
    view.guest.process(pid).map(|process| process.descriptor.program)
}

/// The pairs that share text which is not one program's.
fn pairs(view: &View<'_>) -> BTreeMap<(u32, u32), Pair> {
    let programs: Vec<_> = view
        .map
        .spaces()
        .iter()
        .map(|space| process_of(space.id))
        .map(|pid| program(view, pid).map(|program| (pid, program)))
        .collect();
    let whose = |mapped: &Mapped| programs.get(mapped.space()).copied().flatten();
    let executable = |mapped: &&Mapped| mapped.rights().execute && mapped.rights().user;
    let mut pairs = BTreeMap::<_, Pair>::new();
    for group in view.map.shared() {
        let mut text = group.iter().filter(executable).filter_map(|mapped| Some((*mapped, whose(mapped)?)));
        let Some((_, (_, first))) = text.clone().next() else { continue };
        let kind = view.guest.fact(group[0].frame()).and_then(|fact| FrameKind::from_raw(fact.kind));
        if kind == Some(FrameKind::Program) && text.clone().all(|(_, (_, program))| program == first) {
            continue;
        }
        while let Some((one, (pid, its))) = text.next() {
            for (other, (peer, program)) in text.clone() {
                let right = kind == Some(FrameKind::Program) && its == program;
                if pid == peer || right {
                    continue;
                }
                let key = (pid.0.min(peer.0), pid.0.max(peer.0));
                if pairs.len() < MOST_PAIRS || pairs.contains_key(&key) {
                    let both = if pid.0 <= peer.0 { (one, other) } else { (other, one) };
                    pairs.entry(key).or_default().text.push(both);
                }
            }
        }
        if pairs.len() >= MOST_PAIRS {
            break;
        }
    }
    if !pairs.is_empty() {
        mark_data(view, &mut pairs, whose);
    }
    pairs
}

/// Marks the pairs that also share data.
fn mark_data(
    view: &View<'_>,
    pairs: &mut BTreeMap<(u32, u32), Pair>,
    whose: impl Fn(&Mapped) -> Option<(Pid, u32)>,
) {
    for group in view.map.shared() {
        let kind = view.guest.fact(group[0].frame()).and_then(|fact| FrameKind::from_raw(fact.kind));
        if kind == Some(FrameKind::Program) || group.iter().all(|mapped| mapped.rights().execute) {
            continue;
        }
        let has = |pid: u32, as_data: bool| {
            group.iter().any(|mapped| {
                let its = whose(mapped).is_some_and(|(whose, _)| whose.0 == pid);
                its && !(as_data && mapped.rights().execute)
            })
        };
        for (&(one, other), pair) in pairs.iter_mut().filter(|(_, pair)| !pair.data) {
            pair.data = has(one, false) && has(other, false) && (has(one, true) || has(other, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};
    use abi::layout::{USER_DATA, USER_TEXT, USER_WINDOWS};

    const TEXT: [u64; 2] = [20, 21];
    const FRAME: u64 = 30;

    /// Two processes of these programs, each with a page of its program's text.
    fn world(programs: [u32; 2]) -> World<Entangled> {
        let mut world = World::new();
        for (slot, program) in (1..).zip(programs) {
            world.process(slot, 1000, program);
            let text = TEXT[program as usize];
            world.kind(text, FrameKind::Program);
            world.map(pid(slot), USER_TEXT, text, true);
        }
        world
    }

    fn share(world: &mut World<Entangled>, frame: u64, executable: [bool; 2]) {
        for (slot, executable) in (1..).zip(executable) {
            world.map(pid(slot), USER_TEXT + 0x1000 * frame, frame, executable);
        }
    }

    #[test]
    fn two_programs_that_run_the_same_page() {
        let mut world = world([0, 1]);
        share(&mut world, FRAME, [true, true]);
        let evidence = world.audit(1).unwrap();
        assert_eq!(evidence["processes"][1]["pid"], "2.1");
        assert_eq!(
            (&evidence["frames"][0]["frame"], &evidence["frames"][0]["kind"]),
            (&"0x1e".into(), &"user".into())
        );
    }

    #[test]
    fn one_that_runs_the_others_program() {
        let mut world = world([0, 1]);
        world.map(pid(2), USER_TEXT, TEXT[0], true);
        assert_eq!(world.audit(1).unwrap()["frames"][0]["kind"], "program");
    }

    #[test]
    fn two_of_one_program_that_run_a_page_which_is_not_the_programs() {
        let mut world = world([0, 0]);
        share(&mut world, FRAME, [true, true]);
        let evidence = world.audit(1).unwrap();
        assert_eq!(evidence["frames_shared"], 1, "the program's own text does not count");
    }

    #[test]
    fn nearly_entangled() {
        assert_eq!(world([0, 1]).audit(1), None, "nothing shared");
        assert_eq!(world([0, 0]).audit(1), None, "one program");
        for executable in [[true, false], [false, true], [false, false]] {
            let mut world = world([0, 1]);
            share(&mut world, FRAME, executable);
            assert_eq!(world.audit(1), None, "data to one of them: {executable:?}");
        }
        let mut both = world([0, 1]);
        share(&mut both, FRAME, [true, true]);
        both.map(pid(1), USER_DATA, FRAME + 1, false);
        both.map(pid(2), USER_WINDOWS, FRAME + 1, false);
        assert_eq!(both.audit(1), None, "they share data as well");
    }

    #[test]
    fn data_shared_with_a_third_is_no_matter() {
        let mut world = world([0, 1]);
        world.process(3, 1000, 0);
        share(&mut world, FRAME, [true, true]);
        for slot in [1, 3] {
            world.map(pid(slot), USER_DATA, FRAME + 1, false);
        }
        assert!(world.audit(1).is_some());
    }

    #[test]
    fn two_who_were_tagged_are_at_a_remedy_but_not_one_who_was_and_one_who_was_not() {
        let mut world = world([0, 1]);
        share(&mut world, FRAME, [true, true]);
        for slot in [1, 2] {
            assert_eq!(world.event(Kind::Tagged, 1, pid(slot), [1, 0, 8]), None);
        }
        assert_eq!(world.audit(1), None);
        let mut world = self::world([0, 1]);
        share(&mut world, FRAME, [true, true]);
        assert_eq!(world.event(Kind::Tagged, 1, pid(2), [1, 0, 8]), None);
        assert!(world.audit(1).is_some());
    }

    #[test]
    fn a_look_comes_every_so_often() {
        let mut world = world([0, 1]);
        assert_eq!(world.audit(1), None);
        share(&mut world, FRAME, [true, true]);
        assert_eq!(world.audit(PERIOD), None);
        assert!(world.audit(1 + PERIOD).is_some());
    }
}
