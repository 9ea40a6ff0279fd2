//! The Agent: reads the taps in its state page, has them judged, and tags violators.

use abi::Pid;
use abi::agents::{Class, TAP_SLOTS, Tap, Target};
use abi::layout::{PAGE_SIZE, USER_TEXT};
use abi::syscall::{Keys, Query};

use super::judge::{FORGIVING, Judge, Scores, Verdict, forget, forgive};
use crate::system::{SYSTEM, read_word, remedy, write_word};

/// The state page, accessed by words since the kernel half writes to it as well.
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

impl Scores for StatePage {
    fn target(&self, index: usize) -> Target {
        let word = self.get(offset::TARGETS + index as u64 * 8);
        Target { pid: Pid(word as u32), score: (word >> 32) as u32 }
    }

    fn set_target(&mut self, index: usize, target: Target) {
        let word = u64::from(target.pid.0) | u64::from(target.score) << 32;
        self.set(offset::TARGETS + index as u64 * 8, word);
    }
}

/// An attached Agent.
pub struct Agent {
    judge: Judge,
    page: StatePage,
    /// Lost taps that the judge knows of.
    lost: u64,
    /// Tick at which scores last dropped.
    forgave: u64,
    /// Buffer for memory of other processes.
    evidence: u64,
}

/// Bytes of a violator's text in its fingerprint.
const EVIDENCE: u64 = 256;

/// An odd number whose bits are well mixed (2^64 divided by the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Agent {
    /// Asks for the key and attaches; exits if either is refused.
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

    /// Judges the taps since the last time, at most a ring of them, and tags violators. Returns the tick.
    pub fn inspect(&mut self) -> u64 {
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
            // Free the tap before tagging: an Agent that is restarted in between must not judge it again.
            self.page.set(offset::TAIL, tail.wrapping_add(1));
            if let Some(verdict) = self.judge.consider(tap, every, &mut self.page) {
                self.tag(verdict);
            }
        }
        let now = SYSTEM.query(Query::Tick);
        if now.saturating_sub(self.forgave) >= FORGIVING {
            self.forgave = now;
            forgive(&mut self.page);
        }
        now
    }

    fn tag(&mut self, Verdict { pid, heuristic, score }: Verdict) {
        // Only a living process can be examined; this one may have ended already.
        let text = self.fingerprint(pid);
        if SYSTEM.tag(pid, heuristic, score).is_ok() {
            let tagged = self.page.get(offset::TAGGED);
            self.page.set(offset::TAGGED, tagged.wrapping_add(1));
            SYSTEM.print_with(heuristic.name(), text);
        }
        forget(pid, &mut self.page);
    }

    /// Returns a hash of the beginning of a process's program text; 0 if it cannot be read.
    fn fingerprint(&self, pid: Pid) -> u32 {
        if SYSTEM.examine(pid, USER_TEXT, self.evidence, EVIDENCE).is_err() {
            return 0;
        }
        let words = (self.evidence..self.evidence + EVIDENCE).step_by(8).map(read_word);
        let sum = words.fold(0u64, |sum, word| (sum.rotate_left(5) ^ word).wrapping_mul(SPREAD));
        (sum >> 32) as u32
    }
}

/// Offsets of what the daemon half reads and writes in its page.
mod offset {
    use abi::agents::AgentPage;
    use core::mem::offset_of;

    pub(super) const HEAD: u64 = offset_of!(AgentPage, head) as u64;
    pub(super) const TAIL: u64 = offset_of!(AgentPage, tail) as u64;
    pub(super) const LOST: u64 = offset_of!(AgentPage, lost) as u64;
    pub(super) const EVERY: u64 = offset_of!(AgentPage, every) as u64;
    pub(super) const TAGGED: u64 = offset_of!(AgentPage, tagged) as u64;
    pub(super) const TARGETS: u64 = offset_of!(AgentPage, targets) as u64;
    pub(super) const TAPS: u64 = offset_of!(AgentPage, taps) as u64;
}
