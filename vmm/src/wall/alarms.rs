//! The moments of real time that the wall waits for, as plain values: tests need not wait.

use std::time::{Duration, Instant};

/// How long a kick may stay unanswered before the signal is sent again.
pub(super) const RETRY: Duration = Duration::from_millis(1);
/// How often a guest's silence is checked, as a fraction of the time that it may be silent.
const SILENCE_PARTS: u32 = 4;

/// What has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The time-out of the run is over.
    Timeout,
    /// The watchdog's countdown of this generation is over.
    Watchdog(u64),
    /// Output has waited long enough.
    Flush,
    /// The guest has not been heard for its whole budget.
    Silence,
    /// A kick should have been answered by now.
    Retry,
}

/// The moments. Each is removed when it comes due, except for silence, which is checked again.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    pub(crate) timeout: Option<Instant>,
    pub(crate) watchdog: Option<(Instant, u64)>,
    pub(crate) flush: Option<Instant>,
    pub(crate) retry: Option<Instant>,
    pub(crate) silence: Option<Silence>,
}

/// The state of the thread that runs the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doing {
    /// Its total running time.
    pub(crate) ran: Duration,
    /// Whether it sleeps: the guest has halted.
    pub(crate) asleep: bool,
}

/// A budget of time in which the guest must be heard at least once. Only time in which its thread runs or
/// sleeps counts, not time in which it waits for a processor or a lock: on a busy host a guest is slow, not
/// silent. A thread that sleeps at two checks in a row counts as asleep between them; at a single check it
/// may only have waited for a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    budget: Duration,
    heard: u64,
    /// The part of the budget spent since the guest was last heard.
    spent: Duration,
    looked: Instant,
    ran: Duration,
    /// Whether the thread slept at the last check.
    slept: bool,
    next: Instant,
}

impl Silence {
    pub(crate) fn new(budget: Duration, now: Instant) -> Self {
        let (spent, ran) = (Duration::ZERO, Duration::ZERO);
        Self { budget, heard: 0, spent, looked: now, ran, slept: true, next: now + budget / SILENCE_PARTS }
    }

    /// Whether the budget is spent; then it starts anew. Where the thread's state is unknown, all time
    /// counts.
    fn is_spent(&mut self, now: Instant, heard: u64, doing: Option<Doing>) -> bool {
        let all = now.saturating_duration_since(self.looked);
        let mine = match doing {
            Some(Doing { ran, asleep }) if !(asleep && self.slept) => all.min(ran.saturating_sub(self.ran)),
            _ => all,
        };
        self.slept = doing.is_none_or(|doing| doing.asleep);
        let quiet = heard == self.heard;
        self.spent = if quiet { self.spent + mine } else { Duration::ZERO };
        (self.heard, self.looked) = (heard, now);
        self.ran = doing.map_or(self.ran, |doing| doing.ran);
        self.next = now + self.budget / SILENCE_PARTS;
        let spent = self.spent >= self.budget;
        if spent {
            self.spent = Duration::ZERO;
        }
        spent
    }
}

impl Alarms {
    /// The next moment at which something may be due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let watchdog = self.watchdog.map(|(at, _)| at);
        let silence = self.silence.map(|silence| silence.next);
        [self.timeout, watchdog, self.flush, self.retry, silence].into_iter().flatten().min()
    }

    /// Removes and returns one thing that is due at `now`. `heard` counts how often the guest was heard,
    /// `kicked` says whether a kick is unanswered, and `doing` tells what the guest's thread has been doing,
    /// if that is known.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        heard: u64,
        kicked: bool,
        doing: impl Fn() -> Option<Doing>,
    ) -> Option<Due> {
        let reached = |at: &mut Instant| *at <= now;
        if self.timeout.take_if(reached).is_some() {
            return Some(Due::Timeout);
        }
        if let Some((_, generation)) = self.watchdog.take_if(|(at, _)| *at <= now) {
            return Some(Due::Watchdog(generation));
        }
        if self.flush.take_if(reached).is_some() {
            return Some(Due::Flush);
        }
        if self.retry.take_if(reached).is_some() && kicked {
            self.retry = Some(now + RETRY);
            return Some(Due::Retry);
        }
        let silence = self.silence.as_mut().filter(|silence| silence.next <= now)?;
        silence.is_spent(now, heard, doing()).then_some(Due::Silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn unknown() -> Option<Doing> {
        None
    }

    #[test]
    fn the_earliest_moment_is_next_and_each_comes_due_once() {
        let start = Instant::now();
        let mut alarms = Alarms {
            timeout: Some(start + 3 * SECOND),
            watchdog: Some((start + 2 * SECOND, 7)),
            flush: Some(start + SECOND),
            ..Default::default()
        };
        assert_eq!(alarms.next(), Some(start + SECOND));
        assert_eq!(alarms.due(start, 0, false, unknown), None);
        assert_eq!(alarms.due(start + SECOND, 0, false, unknown), Some(Due::Flush));
        assert_eq!(alarms.due(start + SECOND, 0, false, unknown), None);
        let late = start + 9 * SECOND;
        assert_eq!(alarms.due(late, 0, false, unknown), Some(Due::Timeout));
        assert_eq!(alarms.due(late, 0, false, unknown), Some(Due::Watchdog(7)));
        assert_eq!(alarms.due(late, 0, false, unknown), None);
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn a_guest_that_is_heard_in_time_is_not_silent() {
        let start = Instant::now();
        let silence = Some(Silence::new(4 * SECOND, start));
        let mut alarms = Alarms { silence, ..Default::default() };
        let mut heard = 0;
        for second in 1..100 {
            heard += u64::from(second % 3 == 0);
            assert_eq!(alarms.due(start + second * SECOND, heard, false, unknown), None);
        }
        let mut silent_at = None;
        for second in 100..110 {
            if alarms.due(start + second * SECOND, heard, false, unknown) == Some(Due::Silence) {
                silent_at = silent_at.or(Some(second));
            }
        }
        // Last heard in second 99, and looked at once a second.
        assert_eq!(silent_at, Some(103));
    }

    #[test]
    fn only_time_in_which_it_runs_or_sleeps_is_the_guests() {
        let silent_at = |doing: fn(u32) -> Doing| {
            let start = Instant::now();
            let mut alarms = Alarms { silence: Some(Silence::new(4 * SECOND, start)), ..Default::default() };
            (1..100).find(|second| {
                let due = alarms.due(start + *second * SECOND, 0, false, || Some(doing(*second)));
                due == Some(Due::Silence)
            })
        };
        assert_eq!(silent_at(|second| Doing { ran: SECOND * second, asleep: false }), Some(4));
        assert_eq!(silent_at(|second| Doing { ran: SECOND * second / 4, asleep: false }), Some(16));
        assert_eq!(silent_at(|_| Doing { ran: SECOND, asleep: true }), Some(4));
        assert_eq!(silent_at(|_| Doing { ran: SECOND, asleep: false }), None, "it waits for others");
        let at_times = |second| Doing { ran: SECOND, asleep: second % 2 == 0 };
        assert_eq!(silent_at(at_times), None, "it waits for locks");
    }

    #[test]
    fn a_kick_is_repeated_until_it_is_answered() {
        let start = Instant::now();
        let mut alarms = Alarms { retry: Some(start + RETRY), ..Default::default() };
        for nth in 1..10 {
            let now = start + nth * RETRY;
            assert_eq!(alarms.due(now, 0, true, unknown), Some(Due::Retry));
            assert_eq!(alarms.due(now, 0, true, unknown), None, "not twice at one moment");
        }
        assert_eq!(alarms.due(start + SECOND, 0, false, unknown), None, "it was answered");
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn a_countdown_that_begins_anew_replaces_the_last_one() {
        let start = Instant::now();
        let mut alarms = Alarms::default();
        for generation in 1..=3 {
            alarms.watchdog = Some((start + generation as u32 * SECOND, generation));
        }
        let late = start + 9 * SECOND;
        assert_eq!(alarms.due(late, 0, false, unknown), Some(Due::Watchdog(3)));
        assert_eq!(alarms.due(late, 0, false, unknown), None);
    }
}
