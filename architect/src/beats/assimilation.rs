//! `assimilation`: others run a copy of an Agent's text.

use std::collections::BTreeMap;

use abi::frame::FrameKind;
use abi::layout::PAGE_SIZE;
use abi::trace::{Kind, Record};
use abi::{Frame, Pid};
use introspect::matrix::space::pid as process_of;
use introspect::x86::reverse::Mapped;
use serde_json::{Value, json};

use super::detector::{Detector, View};
use super::known::Known;

/// Ticks from one look to the next: it reads every page that is executable.
const PERIOD: u64 = 8;
/// Most frames of programs whose first contents are remembered.
const MOST_FRAMES: usize = 4096;
/// Most pages that a look reads, and most in the evidence.
const MOST_PAGES: usize = 1 << 14;
const MOST_IN_EVIDENCE: usize = 8;

/// Reached when at a look a page that a process can execute holds, byte for byte, a page of text of an Agent of another
/// program, and the boot module did not put it there: either the frame is one that the Agent executes itself, or it is
/// no frame of a program, or it is one that held something else when it was first read.
///
/// An Agent is who has been given a state page (event `attached`); its text are the pages of kind program that it can
/// execute. Pages of equal bytes throughout are not looked at. A look takes place at the first audit, which remembers
/// what is in the frames of the programs, and then every [`PERIOD`] ticks; pages are compared by their BLAKE3 hashes.
#[derive(Default)]
pub(super) struct Assimilation {
    next: u64,
    /// By slot, so that there are no more than slots.
    agents: BTreeMap<usize, Pid>,
    /// What the frames of programs held when they were first read.
    first: Option<BTreeMap<u64, Hash>>,
}

type Hash = [u8; 32];

/// The hash of a frame's contents, if there is something in it.
fn hash(view: &View<'_>, frame: Frame) -> Option<Hash> {
    let mut page = [0; PAGE_SIZE as usize];
    view.memory.read(frame.base(), &mut page).ok()?;
    page.iter().any(|byte| *byte != page[0]).then(|| blake3::hash(&page).into())
}

fn kind(view: &View<'_>, frame: Frame) -> Option<FrameKind> {
    view.guest.fact(frame).and_then(|fact| FrameKind::from_raw(fact.kind))
}

/// Hashes of the frames that the frame table gives to programs.
fn of_programs(view: &View<'_>) -> BTreeMap<u64, Hash> {
    let frames = (0..view.guest.frames.len() as u64).map(Frame);
    let programs = frames.filter(|frame| kind(view, *frame) == Some(FrameKind::Program)).take(MOST_FRAMES);
    programs.filter_map(|frame| Some((frame.0, hash(view, frame)?))).collect()
}

/// A page of an Agent's text.
struct Original {
    frame: Frame,
    agent: Pid,
    program: u32,
}

impl Assimilation {
    fn look(&self, view: &View<'_>, first: &BTreeMap<u64, Hash>) -> Option<Value> {
        let programs: Vec<_> = view
            .map
            .spaces()
            .iter()
            .map(|space| process_of(space.id))
            .map(|pid| view.guest.process(pid).map(|process| (pid, process.descriptor.program)))
            .collect();
        let whose = |mapped: &Mapped| programs.get(mapped.space()).copied().flatten();
        let mut hashes = BTreeMap::new();
        let mut pages = Vec::new();
        for mapped in view.map.mapped().filter(|mapped| mapped.rights().execute).take(MOST_PAGES) {
            let Some((pid, program)) = whose(mapped) else { continue };
            if let Some(hash) = *hashes.entry(mapped.frame().0).or_insert_with(|| hash(view, mapped.frame()))
            {
                pages.push((*mapped, pid, program, hash));
            }
        }
        let is_agent = |pid: Pid| self.agents.get(&pid.slot()) == Some(&pid);
        let mut originals = BTreeMap::<Hash, Vec<Original>>::new();
        for (mapped, agent, program, hash) in pages.iter().filter(|(_, pid, ..)| is_agent(*pid)) {
            let frame = mapped.frame();
            let pages = originals.entry(*hash).or_default();
            let known = pages.iter().any(|page| page.frame == frame && page.program == *program);
            if kind(view, frame) == Some(FrameKind::Program) && !known {
                pages.push(Original { frame, agent: *agent, program: *program });
            }
        }
        let copies: Vec<_> = pages
            .iter()
            .filter_map(|(mapped, pid, program, hash)| {
                let frame = mapped.frame();
                let pages = originals.get(hash)?;
                if pages.iter().any(|page| page.program == *program) {
                    return None;
                }
                let remapped = pages.iter().find(|page| page.frame == frame);
                let as_built =
                    kind(view, frame) == Some(FrameKind::Program) && first.get(&frame.0) == Some(hash);
                let original = remapped.or_else(|| pages.first().filter(|_| !as_built))?;
                Some((mapped, *pid, original))
            })
            .collect();
        let (_, _, original) = copies.first()?;
        let copy = |(mapped, pid, original): &(&Mapped, Pid, &Original)| {
            json!({
                "process": view.who(*pid),
                "virtual": mapped.virt().to_string(),
                "frame": mapped.frame().to_string(),
                "kind": kind(view, mapped.frame()).map(FrameKind::name),
                "entry": mapped.entry().to_string(),
                "original": original.frame.to_string(),
            })
        };
        Some(json!({
            "agent": view.who(original.agent),
            "pages": copies.len(),
            "copies": copies.iter().take(MOST_IN_EVIDENCE).map(copy).collect::<Vec<_>>(),
        }))
    }
}

impl Detector for Assimilation {
    fn event(&mut self, record: &Record, _known: &Known) -> Option<Value> {
        if Kind::from_raw(record.kind) == Some(Kind::Attached) {
            self.agents.insert(record.pid.slot(), record.pid);
        }
        None
    }

    fn audit(&mut self, view: &View<'_>, _known: &Known) -> Option<Value> {
        if view.tick < self.next {
            return None;
        }
        self.next = view.tick.saturating_add(PERIOD);
        let first = self.first.take().unwrap_or_else(|| of_programs(view));
        let proof = if self.agents.is_empty() { None } else { self.look(view, &first) };
        self.first = Some(first);
        proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};
    use abi::layout::{USER_HEAP, USER_TEXT};

    const AGENT_TEXT: u64 = 20;
    const OTHER_TEXT: u64 = 21;
    const FRAME: u64 = 30;

    /// An Agent (1) and a process of another program (2), each with its text.
    fn world() -> World<Assimilation> {
        let mut world = World::new();
        for (slot, program, text) in [(1, 0, AGENT_TEXT), (2, 1, OTHER_TEXT)] {
            world.process(slot, 0, program);
            world.kind(text, FrameKind::Program);
            world.fill(text, &[program as u8 + 1; 100]);
            world.map(pid(slot), USER_TEXT, text, true);
        }
        assert_eq!(world.event(Kind::Attached, 1, pid(1), [0, 9, 0]), None);
        assert_eq!(world.audit(1), None);
        world
    }

    #[test]
    fn a_copy_in_a_frame_of_its_own_a_changed_program_and_the_agents_own_page() {
        let mut copied = world();
        copied.fill(FRAME, &[1; 100]);
        copied.map(pid(2), USER_HEAP, FRAME, true);
        let evidence = copied.audit(65).unwrap();
        assert_eq!((&evidence["agent"]["pid"], &evidence["pages"]), (&"1.1".into(), &1.into()));
        assert_eq!(
            (&evidence["copies"][0]["frame"], &evidence["copies"][0]["original"]),
            (&"0x1e".into(), &"0x14".into())
        );

        let mut overwritten = world();
        overwritten.fill(OTHER_TEXT, &[1; 100]);
        assert_eq!(overwritten.audit(65).unwrap()["copies"][0]["kind"], "program");

        let mut remapped = world();
        remapped.map(pid(2), USER_TEXT, AGENT_TEXT, true);
        assert_eq!(remapped.audit(65).unwrap()["copies"][0]["process"]["pid"], "2.1");
    }

    #[test]
    fn nearly_assimilated() {
        let with = |change: fn(&mut World<Assimilation>)| {
            let mut world = world();
            change(&mut world);
            world.audit(65)
        };
        assert_eq!(with(|_| ()), None);
        let one_byte_off = with(|world| {
            world.fill(FRAME, &[1; 101]);
            world.map(pid(2), USER_HEAP, FRAME, true);
        });
        assert_eq!(one_byte_off, None);
        let as_data = with(|world| {
            world.fill(FRAME, &[1; 100]);
            world.map(pid(2), USER_HEAP, FRAME, false);
        });
        assert_eq!(as_data, None);
        let blank = with(|world| {
            world.map(pid(1), USER_TEXT + PAGE_SIZE, FRAME, true);
            world.kind(FRAME, FrameKind::Program);
            world.map(pid(2), USER_HEAP, FRAME + 1, true);
        });
        assert_eq!(blank, None, "padding is alike everywhere");
        let another_of_the_program = with(|world| {
            world.process(3, 0, 0);
            world.map(pid(3), USER_TEXT, AGENT_TEXT, true);
        });
        assert_eq!(another_of_the_program, None);
    }

    #[test]
    fn the_text_of_who_is_no_agent_may_be_copied() {
        let mut world = world();
        world.fill(FRAME, &[2; 100]);
        world.process(3, 0, 2);
        world.map(pid(3), USER_HEAP, FRAME, true);
        assert_eq!(world.audit(65), None);
    }

    #[test]
    fn a_module_that_has_the_agents_program_under_two_names_is_no_assimilation() {
        let mut world = World::<Assimilation>::new();
        for (slot, program, text) in [(1, 0, AGENT_TEXT), (2, 1, OTHER_TEXT)] {
            world.process(slot, 0, program);
            world.kind(text, FrameKind::Program);
            world.fill(text, &[7; 100]);
            world.map(pid(slot), USER_TEXT, text, true);
        }
        assert_eq!(world.event(Kind::Attached, 1, pid(1), [0, 9, 0]), None);
        assert!([1, 65, 129].into_iter().all(|tick| world.audit(tick).is_none()));
    }

    #[test]
    fn a_look_comes_every_so_often() {
        let mut world = world();
        world.fill(OTHER_TEXT, &[1; 100]);
        assert_eq!(world.audit(PERIOD), None);
        assert!(world.audit(1 + PERIOD).is_some());
    }
}
