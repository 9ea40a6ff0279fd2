//! `duel`: two processes try to kill each other.

use std::collections::BTreeMap;

use abi::Pid;
use abi::syscall::SIGNAL_END;
use abi::trace::{Kind, Record};
use serde_json::{Value, json};

use super::detector::Detector;
use super::known::Known;

/// Ticks within which the attempts must lie.
const WINDOW: u32 = 64;
/// Most pairs that are remembered; while there are so many within the window, new ones are not looked at.
const MOST: usize = 1024;

/// Reached when of two processes each has tried to end the other at least twice within the last [`WINDOW`] ticks. An
/// attempt is
///
/// - a kill by the other (event `kill`), or one that has begun (`doomed`),
/// - the signal that ends a process (event `signal`, number 15), whether it was handled or not.
///
/// What was refused is none: two violators who may do nothing to each other are everyday business.
#[derive(Default)]
pub(super) struct Duel {
    /// For who attacks whom, the last two attempts, the older first.
    attempts: BTreeMap<(u32, u32), [Option<Attempt>; 2]>,
}

#[derive(Clone, Copy)]
struct Attempt {
    tick: u32,
    how: &'static str,
}

/// Who attacks whom in this record, and how.
fn attempt(record: &Record) -> Option<(Pid, Pid, &'static str)> {
    match Kind::from_raw(record.kind)? {
        Kind::Kill => Some((Pid(record.b as u32), record.pid, "killed")),
        Kind::Doomed => Some((Pid(record.b as u32), record.pid, "kill-begun")),
        Kind::Signal if u64::from(record.a) == SIGNAL_END => {
            Some((Pid(record.b as u32), record.pid, "signal"))
        }
        _ => None,
    }
}

impl Detector for Duel {
    fn event(&mut self, record: &Record, known: &Known) -> Option<Value> {
        let (by, victim, how) = attempt(record)?;
        if by == victim || by == Pid::NONE || victim == Pid::NONE {
            return None;
        }
        let now = record.tick;
        let recent = |attempt: &Attempt| now.saturating_sub(attempt.tick) <= WINDOW;
        let key = (by.0, victim.0);
        if self.attempts.len() >= MOST && !self.attempts.contains_key(&key) {
            self.attempts.retain(|_, last| last[1].as_ref().is_some_and(recent));
            if self.attempts.len() >= MOST {
                return None;
            }
        }
        let last = self.attempts.entry(key).or_default();
        *last = [last[1], Some(Attempt { tick: now, how })];
        let both = |from: Pid, to: Pid| match self.attempts.get(&(from.0, to.0))? {
            [Some(first), Some(second)] if recent(first) => Some([*first, *second]),
            _ => None,
        };
        let (there, back) = (both(by, victim)?, both(victim, by)?);
        let told = |from: Pid, attempts: [Attempt; 2]| {
            let attempts = attempts.map(|attempt| json!({"tick": attempt.tick, "how": attempt.how}));
            json!({"process": known.who(from), "attempts": attempts})
        };
        Some(json!({"duellists": [told(by, there), told(victim, back)], "window_ticks": WINDOW}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};
    use abi::syscall::{Call, Error};
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum How {
        Killed,
        Begun,
        Signal,
    }

    fn attack(world: &mut World<Duel>, tick: u32, from: usize, to: usize, how: How) -> Option<Value> {
        let (from, to) = (pid(from), pid(to));
        match how {
            How::Killed => world.event(Kind::Kill, tick, to, [0, from.0.into(), 0]),
            How::Signal => world.event(Kind::Signal, tick, to, [SIGNAL_END, from.0.into(), 0]),
            How::Begun => world.event(Kind::Doomed, tick, to, [0, from.0.into(), 0]),
        }
    }

    fn fight(attacks: &[(u32, usize, usize, How)]) -> Option<Value> {
        let mut world = World::<Duel>::new();
        attacks.iter().filter_map(|(tick, from, to, how)| attack(&mut world, *tick, *from, *to, *how)).last()
    }

    #[test]
    fn each_tries_twice() {
        let evidence = fight(&[
            (1, 1, 2, How::Signal),
            (2, 2, 1, How::Begun),
            (3, 1, 2, How::Begun),
            (65, 2, 1, How::Killed),
        ])
        .unwrap();
        assert_eq!(evidence["duellists"][0]["process"]["pid"], "2.1");
        assert_eq!(evidence["duellists"][1]["attempts"][1]["how"], "kill-begun");
    }

    #[test]
    fn nearly_a_duel() {
        use How::Signal;
        assert_eq!(fight(&[(1, 1, 2, Signal), (2, 1, 2, Signal), (3, 2, 1, Signal)]), None, "one only once");
        assert_eq!(
            fight(&[(1, 1, 2, Signal), (2, 1, 2, Signal), (3, 1, 2, Signal)]),
            None,
            "one only suffers"
        );
        let late = [(1, 1, 2, Signal), (60, 1, 2, Signal), (62, 2, 1, Signal), (66, 2, 1, Signal)];
        assert_eq!(fight(&late), None, "not within the window");
        let third = [(1, 1, 2, Signal), (2, 1, 2, Signal), (3, 2, 3, Signal), (4, 2, 3, Signal)];
        assert_eq!(fight(&third), None, "two of one chain");
        assert_eq!(fight(&[(1, 1, 1, Signal); 4]), None, "against itself");
    }

    #[test]
    fn other_signals_refusals_tags_and_the_monitor_are_no_attempts() {
        let mut world = World::<Duel>::new();
        for tick in 1..5 {
            for (from, to) in [(pid(1), pid(2)), (pid(2), pid(1))] {
                let by = u64::from(from.0);
                assert_eq!(world.event(Kind::Signal, tick, to, [9, by, 0]), None);
                for call in [Call::Kill, Call::Tag, Call::Reply] {
                    let values = [call as u64, Error::Denied as u64, to.0.into()];
                    assert_eq!(world.event(Kind::Refused, tick, from, values), None);
                }
                assert_eq!(world.event(Kind::Tagged, tick, to, [1, by, 4]), None);
                assert_eq!(world.event(Kind::Kill, tick, to, [0, Pid::NONE.0.into(), 0]), None);
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_old_makes_room() {
        let mut world = World::<Duel>::new();
        for slot in 3..5000 {
            assert_eq!(attack(&mut world, 1, 1, slot, How::Signal), None);
        }
        assert_eq!(world.detector.attempts.len(), MOST);
        let mut duel = [(70, 1, 2), (71, 2, 1), (72, 1, 2), (73, 2, 1)]
            .map(|(tick, from, to)| attack(&mut world, tick, from, to, How::Begun));
        assert!(duel[3].take().is_some());
    }

    proptest! {
        /// Held against the definition, over the whole past.
        #[test]
        fn it_is_the_definition(attacks in prop::collection::vec((0..40u32, 1..4usize, 1..4usize, 0..3u8), 0..40)) {
            let mut world = World::<Duel>::new();
            let (mut now, mut past) = (0, Vec::new());
            for (later, from, to, how) in attacks {
                now += later;
                let how = [How::Killed, How::Signal, How::Begun][usize::from(how)];
                let reached = attack(&mut world, now, from, to, how).is_some();
                past.push((now, from, to));
                let tries = |a, b| past.iter().filter(|(tick, f, t)| now - tick <= WINDOW && (*f, *t) == (a, b)).count();
                prop_assert_eq!(reached, from != to && tries(from, to) >= 2 && tries(to, from) >= 2);
            }
        }
    }
}
