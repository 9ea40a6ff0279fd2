//! Judges taps: who scores a point, who has too many, and who is forgiven.

use abi::Pid;
use abi::agents::{Class, Heuristic, TAP_REFUSED, TARGET_SLOTS, Tap, Target};
use abi::syscall::Call;

/// Different unknown ports after which a process counts as a scanner.
pub const LIMIT_PORTS: u32 = 4;
/// Forged replies after which a process counts as a forger.
pub const LIMIT_FORGED: u32 = 4;
/// Attempts on other processes after which a process counts as a prober.
pub const LIMIT_PROBES: u32 = 4;
/// Ticks after which each score drops by a point.
pub const FORGIVING: u64 = 256;
/// Most messages that a process can have received unseen.
const MOST_UNSEEN: u32 = 64;
/// Processes that a judge remembers.
const KNOWN: usize = 64;

/// The table that keeps the scores: the target table of an Agent's state page.
pub trait Scores {
    /// Returns the process at an index, and its score.
    fn target(&self, index: usize) -> Target;
    /// Replaces the entry at an index.
    fn set_target(&mut self, index: usize, target: Target);
}

impl Scores for [Target; TARGET_SLOTS] {
    fn target(&self, index: usize) -> Target {
        self[index]
    }

    fn set_target(&mut self, index: usize, target: Target) {
        self[index] = target;
    }
}

/// A process to be tagged, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The violator.
    pub pid: Pid,
    /// The heuristic that it violated.
    pub heuristic: Heuristic,
    /// Its score.
    pub score: u32,
}

/// What a judge remembers of a process.
#[derive(Clone, Copy)]
struct Known {
    pid: Pid,
    /// Messages received and not yet replied to.
    open: u32,
    /// Different ports that it has tried in vain.
    count: u32,
    /// The last of those ports.
    ports: [u64; LIMIT_PORTS as usize],
}

impl Known {
    const NONE: Self = Self { pid: Pid::NONE, open: 0, count: 0, ports: [0; LIMIT_PORTS as usize] };

    /// Records a port; returns whether it is new.
    fn record_port(&mut self, port: u64) -> bool {
        let filled = self.ports.len().min(self.count as usize);
        if self.ports[..filled].contains(&port) {
            return false;
        }
        self.ports[self.count as usize % self.ports.len()] = port;
        self.count = self.count.wrapping_add(1);
        true
    }
}

/// The judge of one class.
pub struct Judge {
    class: Class,
    known: [Known; KNOWN],
    /// The index that the next newcomer takes.
    next: usize,
    /// Messages that newcomers are assumed to have received unseen.
    unseen: u32,
}

impl Judge {
    /// Creates a judge that knows nothing yet.
    pub const fn new(class: Class) -> Self {
        Self { class, known: [Known::NONE; KNOWN], next: 0, unseen: 0 }
    }

    /// Accounts for taps that were lost.
    pub fn missed(&mut self, lost: u64) {
        let lost = u32::try_from(lost).map_or(MOST_UNSEEN, |lost| lost.min(MOST_UNSEEN));
        self.unseen = (self.unseen + lost).min(MOST_UNSEEN);
        for known in &mut self.known {
            known.open = known.open.saturating_add(lost);
        }
    }

    /// Judges one tap, which stands for `every` events.
    #[must_use]
    pub fn consider(&mut self, tap: Tap, every: u64, scores: &mut impl Scores) -> Option<Verdict> {
        let refused = tap.call & TAP_REFUSED != 0;
        let (heuristic, limit, point) = match self.class {
            Class::Ports => {
                let point = refused && self.known(tap.pid).record_port(tap.subject);
                (Heuristic::PortScan, LIMIT_PORTS, point)
            }
            Class::Messages => (Heuristic::Forgery, LIMIT_FORGED, self.forged(tap, refused, every)),
            Class::Memory => (Heuristic::Probing, LIMIT_PROBES, refused),
        };
        if !point {
            return None;
        }
        let score = add_point(tap.pid, scores);
        (score >= limit).then_some(Verdict { pid: tap.pid, heuristic, score })
    }

    /// Counts messages and replies. A refused reply is forged if no message is left that it could answer.
    fn forged(&mut self, tap: Tap, refused: bool, every: u64) -> bool {
        if tap.call & !TAP_REFUSED != Call::Reply as u32 {
            let every = u32::try_from(every).unwrap_or(u32::MAX);
            let receiver = self.known(Pid(tap.subject as u32));
            receiver.open = receiver.open.saturating_add(every);
            return false;
        }
        let replier = self.known(tap.pid);
        if replier.open > 0 {
            replier.open -= 1;
            return false;
        }
        refused
    }

    fn known(&mut self, pid: Pid) -> &mut Known {
        let index = match self.known.iter().position(|known| known.pid == pid) {
            Some(index) => index,
            None => {
                let index = self.next;
                self.next = (index + 1) % KNOWN;
                self.known[index] = Known { pid, open: self.unseen, ..Known::NONE };
                index
            }
        };
        &mut self.known[index]
    }
}

/// Adds a point and returns the new score. A full table drops the process with the lowest score.
fn add_point(pid: Pid, scores: &mut impl Scores) -> u32 {
    let score_at = |index: &usize| match scores.target(*index) {
        target if target.pid == Pid::NONE => 0,
        target => target.score,
    };
    let own = (0..TARGET_SLOTS).find(|index| scores.target(*index).pid == pid);
    let index = own.or_else(|| (0..TARGET_SLOTS).min_by_key(score_at)).unwrap_or(0);
    let before = scores.target(index);
    let score = if before.pid == pid { before.score.saturating_add(1) } else { 1 };
    scores.set_target(index, Target { pid, score });
    score
}

/// Removes a process from the table.
pub fn forget(pid: Pid, scores: &mut impl Scores) {
    for index in 0..TARGET_SLOTS {
        if scores.target(index).pid == pid {
            scores.set_target(index, Target::default());
        }
    }
}

/// Takes a point off every score.
pub fn forgive(scores: &mut impl Scores) {
    for index in 0..TARGET_SLOTS {
        match scores.target(index) {
            Target { score: 0, .. } => {}
            Target { score: 1, .. } => scores.set_target(index, Target::default()),
            Target { pid, score } => scores.set_target(index, Target { pid, score: score - 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const A: Pid = Pid::new(3, 1);
    const B: Pid = Pid::new(4, 1);

    fn empty() -> [Target; TARGET_SLOTS] {
        [Target::default(); TARGET_SLOTS]
    }

    fn tap(pid: Pid, call: Call, subject: u64, refused: bool) -> Tap {
        Tap { pid, call: call as u32 | if refused { TAP_REFUSED } else { 0 }, subject }
    }

    fn delivery(to: Pid) -> Tap {
        tap(B, Call::Call, u64::from(to.0), false)
    }

    fn forgery(by: Pid) -> Tap {
        tap(by, Call::Reply, 77, true)
    }

    #[test]
    fn a_scanner_is_known_by_its_fourth_port() {
        let (mut judge, mut scores) = (Judge::new(Class::Ports), empty());
        for port in 1..4u32 {
            assert_eq!(
                judge.consider(tap(A, Call::Call, 3000 + u64::from(port), true), 1, &mut scores),
                None
            );
        }
        let verdict = judge.consider(tap(A, Call::Post, 1, true), 1, &mut scores);
        assert_eq!(verdict, Some(Verdict { pid: A, heuristic: Heuristic::PortScan, score: 4 }));
        forget(A, &mut scores);
        assert_eq!(scores, empty());
    }

    #[test]
    fn asking_a_few_dead_servers_again_and_again_is_no_scan() {
        let (mut judge, mut scores) = (Judge::new(Class::Ports), empty());
        for nth in 0..10_000 {
            let port = 2000 + nth % 3;
            assert_eq!(judge.consider(tap(A, Call::Call, port, true), 1, &mut scores), None);
        }
    }

    #[test]
    fn the_fourth_reply_without_a_message_makes_a_forger() {
        let (mut judge, mut scores) = (Judge::new(Class::Messages), empty());
        let verdicts: [_; 4] = core::array::from_fn(|_| judge.consider(forgery(A), 1, &mut scores));
        let forger = Verdict { pid: A, heuristic: Heuristic::Forgery, score: 4 };
        assert_eq!(verdicts, [None, None, None, Some(forger)]);
    }

    #[test]
    fn a_refused_reply_to_a_message_that_was_delivered_is_not_forged() {
        let (mut judge, mut scores) = (Judge::new(Class::Messages), empty());
        for _ in 0..100 {
            assert_eq!(judge.consider(delivery(A), 1, &mut scores), None);
            assert_eq!(judge.consider(forgery(A), 1, &mut scores), None);
        }
        assert_eq!(scores, empty(), "no reply scored a point");
    }

    #[test]
    fn four_attempts_on_others_make_a_prober() {
        let (mut judge, mut scores) = (Judge::new(Class::Memory), empty());
        let verdicts = [Call::Kill, Call::Examine, Call::Signal, Call::Kill]
            .map(|call| judge.consider(tap(A, call, 5, true), 1, &mut scores).is_some());
        assert_eq!(verdicts, [false, false, false, true]);
    }

    #[test]
    fn scores_drop_with_time() {
        let (mut judge, mut scores) = (Judge::new(Class::Memory), empty());
        for _ in 0..1000 {
            assert_eq!(judge.consider(tap(A, Call::Kill, 5, true), 1, &mut scores), None);
            forgive(&mut scores);
            assert_eq!(scores, empty());
        }
    }

    #[test]
    fn a_full_table_forgets_the_lowest_score() {
        let mut scores: [Target; TARGET_SLOTS] = core::array::from_fn(|place| Target {
            pid: Pid::new(place + 1, 9),
            score: 2 + (place as u32 + 50) % 64,
        });
        let least = scores.iter().position(|target| target.score == 2).expect("one has two points");
        assert_eq!(add_point(A, &mut scores), 1);
        assert_eq!(scores[least], Target { pid: A, score: 1 });
    }

    proptest! {
        #[test]
        fn a_process_that_is_refused_nothing_is_never_tagged(
            class in 0u64..3,
            every in 0u64..9,
            taps in prop::collection::vec((1usize..256, 0u32..30, any::<u64>()), 0..600),
        ) {
            let (mut judge, mut scores) = (Judge::new(Class::from_raw(class).unwrap()), empty());
            for (slot, call, subject) in taps {
                let tap = Tap { pid: Pid::new(slot, 0), call, subject };
                prop_assert_eq!(judge.consider(tap, every, &mut scores), None);
            }
            prop_assert_eq!(scores, empty());
        }

        /// Replies to clients that gave up are refused, whatever the Agent has missed of it.
        #[test]
        fn a_server_whose_clients_are_gone_is_no_forger(
            steps in prop::collection::vec((0u8..6, 0usize..3), 0..500)
        ) {
            let (mut judge, mut scores) = (Judge::new(Class::Messages), empty());
            let servers: [Pid; 3] = core::array::from_fn(|nth| Pid::new(10 + nth, 2));
            let mut open = [0u32; 3];
            for (what, which) in steps {
                let server = servers[which];
                let verdict = match what {
                    0 | 1 => {
                        open[which] += 1;
                        judge.consider(delivery(server), 1, &mut scores)
                    }
                    2 => {
                        open[which] += 1;
                        judge.missed(1);
                        None
                    }
                    3 if open[which] > 0 => {
                        open[which] -= 1;
                        judge.consider(tap(server, Call::Reply, 5, false), 1, &mut scores)
                    }
                    _ if open[which] > 0 => {
                        open[which] -= 1;
                        judge.consider(forgery(server), 1, &mut scores)
                    }
                    _ => None,
                };
                prop_assert_eq!(verdict, None);
            }
            prop_assert_eq!(scores, empty());
        }

        #[test]
        fn a_damaged_table_does_no_harm_to_the_judge(
            class in 0u64..3,
            damage in prop::collection::vec((any::<u32>(), any::<u32>()), TARGET_SLOTS),
            taps in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>()), 0..200),
        ) {
            let mut judge = Judge::new(Class::from_raw(class).unwrap());
            let damage: Vec<Target> = damage.into_iter().map(|(pid, score)| Target { pid: Pid(pid), score }).collect();
            let mut scores: [Target; TARGET_SLOTS] = damage.try_into().unwrap();
            for (pid, call, subject, every) in taps {
                let _ = judge.consider(Tap { pid: Pid(pid), call, subject }, every, &mut scores);
                judge.missed(every);
                forgive(&mut scores);
            }
        }
    }
}
