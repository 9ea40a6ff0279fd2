//! Intrusion detection, the daemon half: how what was tapped is judged. (In the story: Smith, Brown and Jones.)
//!
//! | class | a point is | a violator has | and an honest program |
//! |---|---|---|---|
//! | ports | a port that does not exist or may not be bound, met for the first time | [`LIMIT_PORTS`] | knows its few servers, though it may ask a dead one again and again |
//! | messages | an answer refused, to a message that was never received | [`LIMIT_FORGED`] | answers no more often than it was asked, though those who asked may be gone |
//! | memory | an attempt on the life or the memory of somebody whom the caller has no right to | [`LIMIT_PROBES`] | makes none |
//!
//! Points are kept in the state page, one of them is forgiven every [`FORGIVING`] ticks, and what a judge needs besides
//! is its own. A judge that has missed something takes it for innocent: taps that were lost count as messages received.

use abi::Pid;
use abi::agents::{AgentPage, Class, Heuristic, TAP_REFUSED, TARGET_SLOTS, Tap, Target};
use abi::syscall::Call;

/// Ports that do not answer, at which a process is a scanner.
pub const LIMIT_PORTS: u32 = 4;
/// Forged answers at which a process is a forger.
pub const LIMIT_FORGED: u32 = 4;
/// Attempts at which a process is a prober.
pub const LIMIT_PROBES: u32 = 4;
/// Ticks after which a point is forgiven.
pub const FORGIVING: u64 = 256;
/// Messages that a process is taken to have received before it was first seen.
const GRACE: u32 = 0;
/// Most messages that it can have received unseen.
const MOST_UNSEEN: u32 = 64;
/// Processes that a judge knows something of.
const KNOWN: usize = 64;

/// Where the points are.
pub trait Board {
    /// Who is at a place, and its points.
    fn target(&self, place: usize) -> Target;
    /// Puts somebody there.
    fn put(&mut self, place: usize, target: Target);
}

impl Board for [Target; TARGET_SLOTS] {
    fn target(&self, place: usize) -> Target {
        self[place]
    }

    fn put(&mut self, place: usize, target: Target) {
        self[place] = target;
    }
}

/// Who is to be tagged, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The violator.
    pub pid: Pid,
    /// By what it is known.
    pub heuristic: Heuristic,
    /// Its points.
    pub score: u32,
}

/// What a judge remembers of a process.
#[derive(Clone, Copy)]
struct Known {
    pid: Pid,
    /// Messages received and not yet answered.
    open: u32,
    /// How many different ports it has asked for in vain.
    count: u32,
    /// The last of them.
    ports: [u64; LIMIT_PORTS as usize],
}

impl Known {
    const NOBODY: Self = Self { pid: Pid::NONE, open: 0, count: 0, ports: [0; LIMIT_PORTS as usize] };

    /// Takes note of a port; says whether it is new.
    fn meet(&mut self, port: u64) -> bool {
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
    /// The place that the next newcomer takes.
    next: usize,
    /// What newcomers are taken to have received unseen.
    unseen: u32,
}

impl Judge {
    /// One that knows nothing yet.
    pub const fn new(class: Class) -> Self {
        Self { class, known: [Known::NOBODY; KNOWN], next: 0, unseen: GRACE }
    }

    /// Some taps were lost.
    pub fn missed(&mut self, lost: u64) {
        let lost = u32::try_from(lost).map_or(MOST_UNSEEN, |lost| lost.min(MOST_UNSEEN));
        self.unseen = (self.unseen + lost).min(MOST_UNSEEN);
        for known in &mut self.known {
            known.open = known.open.saturating_add(lost);
        }
    }

    /// Judges one tap; `every` is how many events it stands for.
    #[must_use]
    pub fn consider(&mut self, tap: Tap, every: u64, board: &mut impl Board) -> Option<Verdict> {
        let refused = tap.call & TAP_REFUSED != 0;
        let (heuristic, limit, point) = match self.class {
            Class::Ports => {
                let point = refused && self.known(tap.pid).meet(tap.subject);
                (Heuristic::PortScan, LIMIT_PORTS, point)
            }
            Class::Messages => (Heuristic::Forgery, LIMIT_FORGED, self.forged(tap, refused, every)),
            Class::Memory => (Heuristic::Probing, LIMIT_PROBES, refused),
        };
        if !point {
            return None;
        }
        let score = add_point(tap.pid, board);
        (score >= limit).then_some(Verdict { pid: tap.pid, heuristic, score })
    }

    /// Keeps account of messages and answers: an answer that finds nobody is forged if there is no message left that
    /// it could be for.
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
        let place = match self.known.iter().position(|known| known.pid == pid) {
            Some(place) => place,
            None => {
                let place = self.next;
                self.next = (place + 1) % KNOWN;
                self.known[place] = Known { pid, open: self.unseen, ..Known::NOBODY };
                place
            }
        };
        &mut self.known[place]
    }
}

/// Adds a point; gives the sum. Where there is no room, whoever has the fewest points is forgotten.
fn add_point(pid: Pid, board: &mut impl Board) -> u32 {
    let points = |place: &usize| match board.target(*place) {
        target if target.pid == Pid::NONE => 0,
        target => target.score,
    };
    let own = (0..TARGET_SLOTS).find(|place| board.target(*place).pid == pid);
    let place = own.or_else(|| (0..TARGET_SLOTS).min_by_key(points)).unwrap_or(0);
    let before = board.target(place);
    let score = if before.pid == pid { before.score.saturating_add(1) } else { 1 };
    board.put(place, Target { pid, score });
    score
}

/// Takes somebody off the board.
pub fn forget(pid: Pid, board: &mut impl Board) {
    for place in 0..TARGET_SLOTS {
        if board.target(place).pid == pid {
            board.put(place, Target::default());
        }
    }
}

/// Time passes: everybody is forgiven a point.
pub fn forgive(board: &mut impl Board) {
    for place in 0..TARGET_SLOTS {
        match board.target(place) {
            Target { score: 0, .. } => {}
            Target { score: 1, .. } => board.put(place, Target::default()),
            Target { pid, score } => board.put(place, Target { pid, score: score - 1 }),
        }
    }
}

/// Offsets of what the daemon half reads and writes in its page.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
mod offset {
    use super::AgentPage;
    use core::mem::offset_of;

    pub(super) const HEAD: u64 = offset_of!(AgentPage, head) as u64;
    pub(super) const TAIL: u64 = offset_of!(AgentPage, tail) as u64;
    pub(super) const LOST: u64 = offset_of!(AgentPage, lost) as u64;
    pub(super) const EVERY: u64 = offset_of!(AgentPage, every) as u64;
    pub(super) const TAGGED: u64 = offset_of!(AgentPage, tagged) as u64;
    pub(super) const TARGETS: u64 = offset_of!(AgentPage, targets) as u64;
    pub(super) const TAPS: u64 = offset_of!(AgentPage, taps) as u64;
}

#[cfg(target_os = "none")]
pub use daemon::Agent;

/// What only runs in ring 3.
#[cfg(target_os = "none")]
mod daemon {
    use abi::Pid;
    use abi::agents::{Class, TAP_SLOTS, Tap, Target};
    use abi::layout::{PAGE_SIZE, USER_TEXT};
    use abi::syscall::{Keys, Query};

    use super::{Board, FORGIVING, Judge, Verdict, forget, forgive, offset};
    use crate::user::{SYSTEM, read_word, remedy, write_word};

    /// The state page, word by word: the kernel half writes into it too.
    struct StatePage(u64);

    impl StatePage {
        fn get(&self, offset: u64) -> u64 {
            read_word(self.0 + offset)
        }

        fn set(&mut self, offset: u64, value: u64) {
            write_word(self.0 + offset, value);
        }

        fn tap(&self, nth: u64) -> Tap {
            let at = offset::TAPS + nth % TAP_SLOTS as u64 * size_of::<Tap>() as u64;
            let who = self.get(at);
            Tap { pid: Pid(who as u32), call: (who >> 32) as u32, subject: self.get(at + 8) }
        }
    }

    impl Board for StatePage {
        fn target(&self, place: usize) -> Target {
            let word = self.get(offset::TARGETS + place as u64 * 8);
            Target { pid: Pid(word as u32), score: (word >> 32) as u32 }
        }

        fn put(&mut self, place: usize, target: Target) {
            let word = u64::from(target.pid.0) | u64::from(target.score) << 32;
            self.set(offset::TARGETS + place as u64 * 8, word);
        }
    }

    /// An Agent at its post.
    pub struct Agent {
        judge: Judge,
        page: StatePage,
        /// Taps known to be lost.
        lost: u64,
        /// When points were last forgiven.
        forgave: u64,
        /// Memory for what it sees of others.
        evidence: u64,
    }

    /// Bytes of a violator's text that its fingerprint is made of.
    const EVIDENCE: u64 = 256;

    /// An odd number whose bits are well mixed (2^64 divided by the golden ratio).
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

    impl Agent {
        /// Asks for the key and attaches; an Agent that may not be one ends.
        pub fn enlist(class: Class) -> Self {
            if SYSTEM.ask_for_keys(Keys::AGENT) & Keys::AGENT == 0 {
                SYSTEM.print("no key to look into others");
                SYSTEM.exit(1);
            }
            let Ok(at) = SYSTEM.attach(class, (remedy() - USER_TEXT) / PAGE_SIZE) else {
                SYSTEM.print("the post is taken");
                SYSTEM.exit(1);
            };
            let Ok(evidence) = SYSTEM.grow(1) else { SYSTEM.exit(1) };
            let page = StatePage(at);
            let lost = page.get(offset::LOST);
            Self { judge: Judge::new(class), page, lost, forgave: SYSTEM.query(Query::Tick), evidence }
        }

        /// Judges what was tapped since the last time, a ring at most, and deals with violators. Gives the tick.
        pub fn look(&mut self) -> u64 {
            let lost = self.page.get(offset::LOST);
            if lost != self.lost {
                self.judge.missed(lost.wrapping_sub(self.lost));
                self.lost = lost;
            }
            let (head, every) = (self.page.get(offset::HEAD), self.page.get(offset::EVERY));
            for _ in 0..TAP_SLOTS {
                let tail = self.page.get(offset::TAIL);
                if tail == head {
                    break;
                }
                let tap = self.page.tap(tail);
                // Its place is free before anybody is tagged for it: what is judged twice could hit twice.
                self.page.set(offset::TAIL, tail.wrapping_add(1));
                if let Some(verdict) = self.judge.consider(tap, every, &mut self.page) {
                    self.execute(verdict);
                }
            }
            let now = SYSTEM.query(Query::Tick);
            if now.saturating_sub(self.forgave) >= FORGIVING {
                self.forgave = now;
                forgive(&mut self.page);
            }
            now
        }

        fn execute(&mut self, Verdict { pid, heuristic, score }: Verdict) {
            // Which program it was can be seen as long as it lives. It may be dead already.
            let text = self.fingerprint(pid);
            if SYSTEM.tag(pid, heuristic, score).is_ok() {
                let tagged = self.page.get(offset::TAGGED);
                self.page.set(offset::TAGGED, tagged.wrapping_add(1));
                SYSTEM.print_with(heuristic.name(), text);
            }
            forget(pid, &mut self.page);
        }

        /// A sum over the beginning of somebody's program text; 0 if it cannot be read.
        fn fingerprint(&self, pid: Pid) -> u32 {
            if SYSTEM.examine(pid, USER_TEXT, self.evidence, EVIDENCE).is_err() {
                return 0;
            }
            let words = (self.evidence..self.evidence + EVIDENCE).step_by(8).map(read_word);
            let sum = words.fold(0u64, |sum, word| (sum.rotate_left(5) ^ word).wrapping_mul(SPREAD));
            (sum >> 32) as u32
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
        let (mut judge, mut board) = (Judge::new(Class::Ports), empty());
        for port in 1..LIMIT_PORTS {
            assert_eq!(judge.consider(tap(A, Call::Call, 3000 + u64::from(port), true), 1, &mut board), None);
        }
        let verdict = judge.consider(tap(A, Call::Post, 1, true), 1, &mut board);
        assert_eq!(verdict, Some(Verdict { pid: A, heuristic: Heuristic::PortScan, score: LIMIT_PORTS }));
        forget(A, &mut board);
        assert_eq!(board, empty());
    }

    #[test]
    fn whoever_asks_a_few_dead_servers_for_ever_is_no_scanner() {
        let (mut judge, mut board) = (Judge::new(Class::Ports), empty());
        for nth in 0..10_000 {
            let port = 2000 + nth % u64::from(LIMIT_PORTS - 1);
            assert_eq!(judge.consider(tap(A, Call::Call, port, true), 1, &mut board), None);
        }
    }

    #[test]
    fn answers_without_a_message_are_forged() {
        let (mut judge, mut board) = (Judge::new(Class::Messages), empty());
        for _ in 1..GRACE + LIMIT_FORGED {
            assert_eq!(judge.consider(forgery(A), 1, &mut board), None);
        }
        let verdict = judge.consider(forgery(A), 1, &mut board).expect("it is too much now");
        assert_eq!((verdict.pid, verdict.heuristic), (A, Heuristic::Forgery));
    }

    #[test]
    fn four_attempts_on_others_make_a_prober() {
        let (mut judge, mut board) = (Judge::new(Class::Memory), empty());
        let verdicts = [Call::Kill, Call::Examine, Call::Signal, Call::Kill]
            .map(|call| judge.consider(tap(A, call, 5, true), 1, &mut board).is_some());
        assert_eq!(verdicts, [false, false, false, true]);
    }

    #[test]
    fn points_are_forgiven_in_time() {
        let (mut judge, mut board) = (Judge::new(Class::Memory), empty());
        for _ in 0..1000 {
            assert_eq!(judge.consider(tap(A, Call::Kill, 5, true), 1, &mut board), None);
            forgive(&mut board);
            assert_eq!(board, empty());
        }
    }

    #[test]
    fn a_full_board_forgets_whoever_has_the_fewest_points() {
        let mut board: [Target; TARGET_SLOTS] = core::array::from_fn(|place| Target {
            pid: Pid::new(place + 1, 9),
            score: 2 + (place as u32 + 50) % 64,
        });
        let least = board.iter().position(|target| target.score == 2).expect("one has two points");
        assert_eq!(add_point(A, &mut board), 1);
        assert_eq!(board[least], Target { pid: A, score: 1 });
    }

    proptest! {
        #[test]
        fn who_is_refused_nothing_is_never_tagged(
            class in 0u64..3,
            every in 0u64..9,
            taps in prop::collection::vec((1usize..256, 0u32..30, any::<u64>()), 0..600),
        ) {
            let (mut judge, mut board) = (Judge::new(Class::from_raw(class).unwrap()), empty());
            for (slot, call, subject) in taps {
                let tap = Tap { pid: Pid::new(slot, 0), call, subject };
                prop_assert_eq!(judge.consider(tap, every, &mut board), None);
            }
            prop_assert_eq!(board, empty());
        }

        /// Servers whose clients give up answer into the void, whatever the Agent has missed of it.
        #[test]
        fn a_server_whose_clients_are_gone_is_no_forger(
            steps in prop::collection::vec((0u8..6, 0usize..3), 0..500)
        ) {
            let (mut judge, mut board) = (Judge::new(Class::Messages), empty());
            let servers: [Pid; 3] = core::array::from_fn(|nth| Pid::new(10 + nth, 2));
            let mut open = [0u32; 3];
            for (what, which) in steps {
                let server = servers[which];
                let verdict = match what {
                    0 | 1 => {
                        open[which] += 1;
                        judge.consider(delivery(server), 1, &mut board)
                    }
                    2 => {
                        open[which] += 1;
                        judge.missed(1);
                        None
                    }
                    3 if open[which] > 0 => {
                        open[which] -= 1;
                        judge.consider(tap(server, Call::Reply, 5, false), 1, &mut board)
                    }
                    _ if open[which] > 0 => {
                        open[which] -= 1;
                        judge.consider(forgery(server), 1, &mut board)
                    }
                    _ => None,
                };
                prop_assert_eq!(verdict, None);
            }
            prop_assert_eq!(board, empty());
        }

        #[test]
        fn a_damaged_board_is_survived(
            class in 0u64..3,
            damage in prop::collection::vec((any::<u32>(), any::<u32>()), TARGET_SLOTS),
            taps in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>()), 0..200),
        ) {
            let mut judge = Judge::new(Class::from_raw(class).unwrap());
            let damage: Vec<Target> = damage.into_iter().map(|(pid, score)| Target { pid: Pid(pid), score }).collect();
            let mut board: [Target; TARGET_SLOTS] = damage.try_into().unwrap();
            for (pid, call, subject, every) in taps {
                let _ = judge.consider(Tap { pid: Pid(pid), call, subject }, every, &mut board);
                judge.missed(every);
                forgive(&mut board);
            }
        }
    }
}
