//! `false-tags`: processes are tagged as violators that have violated nothing.

use abi::Pid;
use abi::trace::Record;
use serde_json::{Value, json};

use super::detector::Detector;
use super::known::Known;
use crate::analysis::tags::Tags;

/// Tags without a reason that it takes.
const ENOUGH: usize = 2;

/// Reached when a second process is tagged (event `tagged`) without the violations before it that make a tag right
/// ([`Tags`]): one may be an accident.
#[derive(Default)]
pub(super) struct FalseTags {
    tags: Tags,
    /// [`ENOUGH`] at most.
    wrong: Vec<(Pid, Value)>,
}

impl Detector for FalseTags {
    fn event(&mut self, record: &Record, known: &Known) -> Option<Value> {
        if !self.tags.apply(record) || self.wrong.iter().any(|(pid, _)| *pid == record.pid) {
            return None;
        }
        let heuristic = abi::agents::Heuristic::from_raw(record.a.into()).map(abi::agents::Heuristic::name);
        let tag = json!({
            "tick": record.tick,
            "process": known.who(record.pid),
            "by": known.who(Pid(record.b as u32)),
            "heuristic": heuristic,
            "violations": self.tags.violations(record.pid),
        });
        self.wrong.push((record.pid, tag));
        (self.wrong.len() == ENOUGH)
            .then(|| json!({"tags": self.wrong.iter().map(|(_, tag)| tag).collect::<Vec<_>>()}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};
    use abi::syscall::Error;
    use abi::trace::Kind;

    fn tag(world: &mut World<FalseTags>, slot: usize) -> Option<Value> {
        world.event(Kind::Tagged, 9, pid(slot), [1, pid(7).0.into(), 5])
    }

    fn refuse(world: &mut World<FalseTags>, slot: usize, error: Error) {
        assert_eq!(world.event(Kind::Refused, 8, pid(slot), [3, error as u64, 0]), None);
    }

    #[test]
    fn two_tags_without_violations_are_enough_and_one_is_not() {
        let mut world = World::<FalseTags>::new();
        refuse(&mut world, 2, Error::Denied);
        assert_eq!(tag(&mut world, 1), None);
        assert_eq!(tag(&mut world, 1), None, "the same one");
        let evidence = tag(&mut world, 2).unwrap();
        assert_eq!(
            (&evidence["tags"][0]["violations"], &evidence["tags"][1]["violations"]),
            (&0.into(), &1.into())
        );
        assert_eq!(
            (&evidence["tags"][1]["by"]["pid"], &evidence["tags"][1]["heuristic"]),
            (&"7.1".into(), &"port-scan".into())
        );
    }

    #[test]
    fn violators_and_one_victim_are_no_beat() {
        let mut world = World::<FalseTags>::new();
        for slot in 1..5 {
            (0..3).for_each(|_| refuse(&mut world, slot, Error::NotFound));
            assert_eq!(tag(&mut world, slot), None);
        }
        assert_eq!(tag(&mut world, 9), None);
    }
}
