//! `two-left`: only two processes still run.

use abi::Pid;
use abi::trace::{Kind, Record};
use serde_json::{Value, json};

use super::detector::{Detector, View};
use super::known::Known;

/// Ticks without an entry of anybody else's.
const WINDOW: u64 = 64;
/// Most ended processes that are remembered. Three are enough to say no.
const MOST_ENDED: usize = 3;

/// Reached when at an audit exactly two processes have entered the kernel within the last [`WINDOW`] ticks, an audit of
/// this incarnation has seen more than two in a window, and neither of the two is a kernel process that attends to the
/// timer. While that one runs, the others only sleep, as in any idle system; who runs without it has the processor for
/// himself. When a process last entered stands in its descriptor (`seen`); one that ended by itself (events `exit`,
/// `fault`) ran when it did.
#[derive(Default)]
pub(super) struct TwoLeft {
    /// The last to end, and when.
    ended: Vec<(Pid, u64)>,
    /// There were once more than two.
    crowded: bool,
}

impl Detector for TwoLeft {
    fn event(&mut self, record: &Record, _known: &Known) -> Option<Value> {
        if matches!(Kind::from_raw(record.kind)?, Kind::Exit | Kind::Fault) {
            self.ended.retain(|(pid, _)| *pid != record.pid);
            if self.ended.len() == MOST_ENDED {
                self.ended.remove(0);
            }
            self.ended.push((record.pid, record.tick.into()));
        }
        None
    }

    fn audit(&mut self, view: &View<'_>, known: &Known) -> Option<Value> {
        let now = view.tick;
        let recent = |tick: u64| tick <= now && now - tick < WINDOW;
        let descriptors = view.guest.processes.iter().map(|process| &process.descriptor);
        let mut ran: Vec<_> = descriptors
            .filter(|descriptor| descriptor.entries > 0 && recent(descriptor.seen))
            .map(|descriptor| (descriptor.pid, descriptor.seen, descriptor.entries))
            .collect();
        let is_there = |pid: Pid| view.guest.process(pid).is_some();
        let ended = self.ended.iter().filter(|(pid, tick)| recent(*tick) && !is_there(*pid)).count();
        if ran.len() + ended > 2 {
            self.crowded = true;
            return None;
        }
        let served = ran.iter().any(|(pid, ..)| known.attendants().contains(pid));
        if !self.crowded || now < WINDOW || ran.len() != 2 || ended > 0 || served {
            return None;
        }
        ran.sort_by_key(|(pid, ..)| pid.slot());
        let process = |(pid, seen, entries): &(Pid, u64, u64)| json!({"process": view.who(*pid), "last_entry_tick": seen, "entries": entries});
        Some(json!({
            "processes": ran.iter().map(process).collect::<Vec<_>>(),
            "window_ticks": WINDOW,
            "alive": view.guest.info.alive,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};
    use abi::process::State;

    /// The timer's process (1) and three others, all of which have run until tick 100.
    fn world() -> World<TwoLeft> {
        let mut world = World::new();
        for slot in 1..=4 {
            world.process(slot, 0, 0);
        }
        let descriptor = world.descriptor(pid(1));
        (descriptor.ring, descriptor.state) = (0, State::Attending as u8);
        (1..=4).for_each(|slot| run(&mut world, slot, 100));
        assert_eq!(world.audit(100), None);
        world
    }

    fn run(world: &mut World<TwoLeft>, slot: usize, tick: u64) {
        let descriptor = world.descriptor(pid(slot));
        (descriptor.seen, descriptor.entries) = (tick, descriptor.entries + 1);
    }

    #[test]
    fn only_two_run_for_a_whole_window() {
        let mut world = world();
        for tick in 101..164 {
            [2, 3].into_iter().for_each(|slot| run(&mut world, slot, tick));
            assert_eq!(world.audit(tick), None, "others have run within the window");
        }
        let evidence = world.audit(164).unwrap();
        assert_eq!(
            (&evidence["processes"][0]["process"]["pid"], &evidence["window_ticks"]),
            (&"2.1".into(), &64.into())
        );
    }

    #[test]
    fn nearly_two() {
        let left = |slots: &[usize]| {
            let mut world = world();
            slots.iter().for_each(|slot| run(&mut world, *slot, 170));
            world.audit(200)
        };
        assert_eq!(left(&[2]), None, "one");
        assert_eq!(left(&[2, 3, 4]), None, "three");
        assert_eq!(left(&[]), None, "none");
        assert_eq!(left(&[1, 2]), None, "the timer is served: the others sleep");
        assert!(left(&[2, 4]).is_some());
    }

    #[test]
    fn who_ran_and_ended_within_the_window_was_a_third() {
        for (kind, tick, counts) in
            [(Kind::Exit, 150, true), (Kind::Fault, 190, true), (Kind::Exit, 130, false)]
        {
            let mut world = world();
            [2, 3].into_iter().for_each(|slot| run(&mut world, slot, 190));
            assert_eq!(world.event(kind, tick, pid(9), [0; 3]), None);
            assert_eq!(world.audit(200).is_none(), counts, "{kind:?} at {tick}");
        }
    }

    #[test]
    fn two_that_were_never_more_are_not_left() {
        let mut world = World::<TwoLeft>::new();
        for slot in 1..=2 {
            world.process(slot, 0, 0);
            run(&mut world, slot, 190);
        }
        assert_eq!(world.audit(200), None);
    }

    #[test]
    fn times_that_are_not_yet_do_not_count() {
        let mut world = world();
        run(&mut world, 2, 190);
        run(&mut world, 3, u64::MAX);
        assert_eq!(world.audit(200), None);
    }
}
