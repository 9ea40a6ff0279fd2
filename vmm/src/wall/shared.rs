//! What the thread of the wall and the thread that runs the guest share.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::timerfd::TimerFd;

use crate::wall::alarms::Alarms;

/// What both threads use.
pub(super) struct Shared {
    pub(super) timing: Mutex<Timing>,
    pub(super) heard: AtomicU64,
    /// Set once the run is ended from outside, and when that was.
    pub(super) ended: OnceLock<Instant>,
    pub(super) stop: AtomicBool,
    pub(super) more_input: AtomicBool,
    /// Wakes the thread to look at `stop` and `more_input`.
    pub(super) wake: EventFd,
}

/// The alarms, and the timer that goes off at the first of them.
pub(super) struct Timing {
    pub(super) alarms: Alarms,
    pub(super) timer: TimerFd,
    /// When the timer goes off.
    pub(super) set_for: Option<Instant>,
}

impl Timing {
    /// Sets the timer for the first alarm, unless it goes off before that anyway.
    pub(super) fn arm(&mut self) {
        let Some(next) = self.alarms.next() else { return };
        if self.set_for.is_none_or(|set_for| next < set_for) {
            self.set(next);
        }
    }

    pub(super) fn set(&mut self, next: Instant) {
        // Zero would switch the timer off.
        let after = next.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        // It cannot fail: the descriptor is a timer and the time is in range.
        let _ = self.timer.reset(after, None);
        self.set_for = Some(next);
    }

    /// After the timer went off, or came too early: sets it anew, which also makes it unreadable.
    pub(super) fn rearm(&mut self) {
        match self.alarms.next() {
            Some(next) => self.set(next),
            None => {
                let _ = self.timer.clear();
                self.set_for = None;
            }
        }
    }
}

impl Shared {
    pub(super) fn timing(&self) -> MutexGuard<'_, Timing> {
        // A panic elsewhere cannot leave alarms half-written.
        self.timing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        // It can fail only when the counter is full, and then the thread is awake.
        let _ = self.wake.write(1);
    }
}
