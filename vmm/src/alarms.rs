//! Which moments of real time are being waited for: plain values, so that they can be tested without waiting.

use std::time::{Duration, Instant};

/// How often a guest's silence is looked at, in parts of the time that it may be silent.
const SILENCE_PARTS: u32 = 4;

/// What has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The whole run has taken too long.
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

/// The moments. Each of them is taken out when it comes due, except for silence, which is looked at again.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    pub(crate) timeout: Option<Instant>,
    pub(crate) watchdog: Option<(Instant, u64)>,
    pub(crate) flush: Option<Instant>,
    pub(crate) retry: Option<Instant>,
    pub(crate) silence: Option<Silence>,
}

/// A budget of time in which the guest must be heard at least once. Time in which its thread waits for a processor does
/// not count: beside many others a guest is slow, not silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    budget: Duration,
    heard: u64,
    /// When it was last known to have been heard, and how long its thread had waited for a processor until then.
    since: Instant,
    waited: Duration,
    next: Instant,
}

impl Silence {
    pub(crate) fn new(budget: Duration, now: Instant) -> Self {
        Self { budget, heard: 0, since: now, waited: Duration::ZERO, next: now + budget / SILENCE_PARTS }
    }

    /// Whether the budget is spent; then it begins anew.
    fn is_spent(&mut self, now: Instant, heard: u64, waited: Duration) -> bool {
        self.next = now + self.budget / SILENCE_PARTS;
        let all = now.saturating_duration_since(self.since);
        let spent = all.saturating_sub(waited.saturating_sub(self.waited)) >= self.budget;
        let quiet = heard == self.heard;
        if spent || !quiet {
            (self.heard, self.since, self.waited) = (heard, now, waited);
        }
        spent && quiet
    }
}

impl Alarms {
    /// The next moment at which to look.
    pub(crate) fn next(&self) -> Option<Instant> {
        let watchdog = self.watchdog.map(|(at, _)| at);
        let silence = self.silence.map(|silence| silence.next);
        [self.timeout, watchdog, self.flush, self.retry, silence].into_iter().flatten().min()
    }

    /// Takes out one thing that has come due by `now`; `heard` counts how often the guest was heard, and `waited` tells how
    /// long its thread has waited for a processor.
    pub(crate) fn due(&mut self, now: Instant, heard: u64, waited: impl Fn() -> Duration) -> Option<Due> {
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
        if self.retry.take_if(reached).is_some() {
            return Some(Due::Retry);
        }
        let silence = self.silence.as_mut().filter(|silence| silence.next <= now)?;
        silence.is_spent(now, heard, waited()).then_some(Due::Silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn never() -> Duration {
        Duration::ZERO
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
        assert_eq!(alarms.due(start, 0, never), None);
        assert_eq!(alarms.due(start + SECOND, 0, never), Some(Due::Flush));
        assert_eq!(alarms.due(start + SECOND, 0, never), None);
        let late = start + 9 * SECOND;
        assert_eq!(alarms.due(late, 0, never), Some(Due::Timeout));
        assert_eq!(alarms.due(late, 0, never), Some(Due::Watchdog(7)));
        assert_eq!(alarms.due(late, 0, never), None);
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
            assert_eq!(alarms.due(start + second * SECOND, heard, never), None);
        }
        let mut silent_at = None;
        for second in 100..110 {
            if alarms.due(start + second * SECOND, heard, never) == Some(Due::Silence) {
                silent_at = silent_at.or(Some(second));
            }
        }
        // Last heard in second 99, and looked at once a second.
        assert_eq!(silent_at, Some(103));
    }

    #[test]
    fn time_in_a_queue_for_the_processor_is_not_the_guests() {
        let start = Instant::now();
        let silence = Some(Silence::new(4 * SECOND, start));
        let mut alarms = Alarms { silence, ..Default::default() };
        // It gets every fourth second.
        let silent_at = (1..100).find(|second| {
            let waited = || SECOND * (second * 3 / 4);
            alarms.due(start + *second * SECOND, 0, waited) == Some(Due::Silence)
        });
        assert_eq!(silent_at, Some(13));
    }
}
