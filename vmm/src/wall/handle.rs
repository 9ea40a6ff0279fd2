//! The thread of the wall, as the thread that runs the guest sees it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devices::watchdog::Deadline;
use event_manager::{EventManager, SubscriberOps};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use vmm_sys_util::timerfd::TimerFd;

use crate::error::VmmError;
use crate::wall::alarms::{Alarms, RETRY, Silence};
use crate::wall::event::WallEvent;
use crate::wall::kick::Kick;
use crate::wall::shared::{Shared, Timing};
use crate::wall::signals::end_signals;
use crate::wall::watcher::{Watcher, open_stdin};

/// How long output may wait for the end of its line.
const FLUSH_AFTER: Duration = Duration::from_millis(10);
/// How long the last output may take after the run was ended from outside.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// What to watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallConfig {
    /// Ends the run this long after the spawn.
    pub timeout: Option<Duration>,
    /// How long the guest may go without [`Wall::heard`].
    pub silence: Option<Duration>,
    /// Whether standard input is read.
    pub stdin: bool,
    /// Whether SIGINT and SIGTERM become events. They stay so for the rest of the process.
    pub signals: bool,
}

/// The thread, as the thread that runs the guest sees it.
pub struct Wall {
    shared: Arc<Shared>,
    kick: Kick,
    thread: Option<JoinHandle<()>>,
}

impl Wall {
    /// Starts the thread. The calling thread is the one that is kicked.
    pub fn spawn(config: WallConfig) -> Result<(Self, Receiver<WallEvent>), VmmError> {
        let now = Instant::now();
        let alarms = Alarms {
            timeout: config.timeout.and_then(|after| now.checked_add(after)),
            silence: config.silence.map(|budget| Silence::new(budget, now)),
            ..Default::default()
        };
        let timer = TimerFd::new().map_err(VmmError::resource("a timer"))?;
        let mut timing = Timing { alarms, timer, set_for: None };
        timing.arm();
        let shared = Arc::new(Shared {
            timing: Mutex::new(timing),
            heard: AtomicU64::new(0),
            ended: OnceLock::new(),
            stop: AtomicBool::new(false),
            more_input: AtomicBool::new(false),
            wake: EventFd::new(EFD_NONBLOCK).map_err(VmmError::resource("an event descriptor"))?,
        });
        let kick = Kick::of_this_thread()?;
        let (sender, receiver) = channel();
        let signals = if config.signals { Some(end_signals()?) } else { None };
        let stdin = if config.stdin { Some(open_stdin()?) } else { None };
        let watcher = Watcher { shared: shared.clone(), kick: kick.clone(), sender, signals, stdin };
        let mut manager = EventManager::new()
            .map_err(std::io::Error::other)
            .map_err(VmmError::resource("an event loop"))?;
        manager.add_subscriber(watcher);
        let thread = std::thread::Builder::new()
            .name("wall".into())
            .stack_size(256 << 10)
            .spawn({
                let shared = shared.clone();
                move || {
                    while !shared.stop.load(Ordering::Acquire) {
                        // It can fail only when a signal comes in between; then it is called again.
                        let _ = manager.run();
                    }
                }
            })
            .map_err(VmmError::resource("a thread"))?;
        Ok((Self { shared, kick, thread: Some(thread) }, receiver))
    }

    /// The kick that the vCPU loop checks.
    pub fn kick(&self) -> Kick {
        self.kick.clone()
    }

    /// The watchdog's countdown has begun anew, or (with `None`) has ended.
    pub fn set_watchdog(&self, deadline: Option<Deadline>) {
        let mut timing = self.shared.timing();
        timing.alarms.watchdog = deadline.map(|d| (Instant::now() + d.after, d.generation));
        timing.arm();
    }

    /// Asks for one [`WallEvent::Flush`], soon.
    pub fn flush_later(&self) {
        let mut timing = self.shared.timing();
        timing.alarms.flush = Some(Instant::now() + FLUSH_AFTER);
        timing.arm();
    }

    /// The guest was heard: its budget of silence begins anew.
    #[inline]
    pub fn heard(&self) {
        self.shared.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks for another [`WallEvent::Input`].
    pub fn more_input(&self) {
        self.shared.more_input.store(true, Ordering::Release);
        self.shared.wake();
    }

    /// Limits how long unread output can delay the end: see [`Patience`].
    pub fn patience(&self) -> Patience {
        Patience(self.shared.clone())
    }

    /// Asks the thread to end, without waiting for it; dropping the wall waits.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
    }

    /// The run is over, only output remains to be written: from now on a blocked writer is interrupted at an
    /// interval, so that [`Patience`] can run out. Kicks are no longer answered.
    pub fn finish_output(&self) {
        let _ = self.shared.ended.set(Instant::now());
        self.kick.ask();
        let mut timing = self.shared.timing();
        timing.alarms = Alarms { retry: Some(Instant::now() + RETRY), ..Default::default() };
        timing.arm();
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, nothing could be done about it here.
            let _ = thread.join();
        }
    }
}

/// Tells a writer of output when to give up: some time after the run was ended from outside.
pub struct Patience(Arc<Shared>);

impl Patience {
    /// Whether to give up.
    pub fn is_over(&self) -> bool {
        self.is_over_at(Instant::now())
    }

    fn is_over_at(&self, now: Instant) -> bool {
        self.0.ended.get().is_some_and(|ended| now.saturating_duration_since(*ended) > LAST_OUTPUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_runs_out_a_while_after_the_run_has_ended_and_not_before() {
        let (wall, _events) = Wall::spawn(WallConfig::default()).unwrap();
        let patience = wall.patience();
        assert!(!patience.is_over_at(Instant::now() + 100 * LAST_OUTPUT), "the run goes on");
        wall.finish_output();
        let ended = *patience.0.ended.get().unwrap();
        assert!(!patience.is_over_at(ended + LAST_OUTPUT));
        assert!(patience.is_over_at(ended + LAST_OUTPUT + Duration::from_nanos(1)));
    }
}
