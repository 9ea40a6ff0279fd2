//! Real time and the world outside, in a thread of their own: time-outs, the watchdog's seconds, signals, keys typed.
//!
//! This thread never touches a machine. It sends [`WallEvent`]s over a channel and *kicks* the thread that runs the
//! guest: a signal makes `KVM_RUN` return, the vCPU loop sees the kick and its caller reads the channel. A signal that
//! arrives a moment before `KVM_RUN` begins is lost, so it is sent again each millisecond until the kick is answered.
//!
//! The thread that calls [`Wall::spawn`] is the one that is kicked. Dropping the [`Wall`] ends the thread and closes
//! everything that it had.

mod alarms;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devices::watchdog::Deadline;
use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use vmm_sys_util::signal::register_signal_handler;
use vmm_sys_util::timerfd::TimerFd;

use crate::error::VmmError;
use crate::host::kvm::KickTarget;
use crate::wall::alarms::{Alarms, Doing, Due, Silence};

/// How long a kick may stay unanswered before the signal is sent again.
const RETRY: Duration = Duration::from_millis(1);
/// How long output may wait for the end of its line.
const FLUSH_AFTER: Duration = Duration::from_millis(10);
/// How long the last output may take once the run has been ended from outside.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// Most bytes of input in one event.
const INPUT_BYTES: usize = 4096;

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

/// What happened outside of the guest.
#[derive(Debug, PartialEq, Eq)]
pub enum WallEvent {
    /// [`WallConfig::timeout`] is over.
    Timeout,
    /// The guest was not heard for [`WallConfig::silence`].
    Silence,
    /// The watchdog's countdown of this generation is over: for [`devices::watchdog::Watchdog::expire`].
    Watchdog(u64),
    /// Output has waited long enough for the end of its line; asked for by [`Wall::flush_later`].
    Flush,
    /// Something was typed. No more comes until [`Wall::more_input`].
    Input(Vec<u8>),
    /// SIGINT or SIGTERM came, by its number.
    Signal(i32),
}

/// Asks the thread that runs the guest to look up. Clones are the same kick.
#[derive(Clone, Debug)]
pub struct Kick(Arc<Kicked>);

#[derive(Debug)]
struct Kicked {
    asked: AtomicBool,
    target: KickTarget,
}

impl Kick {
    fn of_this_thread() -> Result<Self, VmmError> {
        let target = KickTarget::this_thread().map_err(VmmError::resource("the kick signal"))?;
        Ok(Self(Arc::new(Kicked { asked: AtomicBool::new(false), target })))
    }

    /// Whether there was a kick since the last call: this is what answers it.
    #[inline]
    pub fn take(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed) && self.0.asked.swap(false, Ordering::AcqRel)
    }

    fn ask(&self) {
        self.0.asked.store(true, Ordering::Release);
        self.0.target.signal();
    }

    fn is_open(&self) -> bool {
        self.0.asked.load(Ordering::Acquire)
    }
}

/// What both threads use.
struct Shared {
    timing: Mutex<Timing>,
    heard: AtomicU64,
    /// Set once the run is ended from outside, and when that was.
    ended: OnceLock<Instant>,
    stop: AtomicBool,
    more_input: AtomicBool,
    /// Wakes the thread to look at `stop` and `more_input`.
    wake: EventFd,
}

/// The alarms, and the timer that goes off at the first of them.
struct Timing {
    alarms: Alarms,
    timer: TimerFd,
    /// When the timer goes off.
    set_for: Option<Instant>,
}

impl Timing {
    /// Sets the timer for the first alarm, unless it goes off before that anyway.
    fn arm(&mut self) {
        let Some(next) = self.alarms.next() else { return };
        if self.set_for.is_none_or(|set_for| next < set_for) {
            self.set(next);
        }
    }

    fn set(&mut self, next: Instant) {
        // Zero would switch the timer off.
        let after = next.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        // It cannot fail: the descriptor is a timer and the time is in range.
        let _ = self.timer.reset(after, None);
        self.set_for = Some(next);
    }

    /// After the timer went off, or came too early: sets it anew, which also makes it unreadable.
    fn rearm(&mut self) {
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
    fn timing(&self) -> MutexGuard<'_, Timing> {
        // A panic elsewhere cannot leave alarms half-written.
        self.timing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wake(&self) {
        // It can fail only when the counter is full, and then the thread is awake.
        let _ = self.wake.write(1);
    }
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

    /// What the vCPU loop looks at.
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

    /// There is room for another [`WallEvent::Input`].
    pub fn more_input(&self) {
        self.shared.more_input.store(true, Ordering::Release);
        self.shared.wake();
    }

    /// Limits how long output that nobody reads can hold up the end: see [`Patience`].
    pub fn patience(&self) -> Patience {
        Patience(self.shared.clone())
    }

    /// There is nothing more to watch: asks the thread to end, which it does while others clear up. Dropping waits for it.
    pub fn let_go(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
    }

    /// The run is over, only output is still to be written: from now on a writer that waits is woken again and again,
    /// so that [`Patience`] can run out. Kicks are not answered any more.
    pub fn hurry(&self) {
        let _ = self.shared.ended.set(Instant::now());
        self.kick.ask();
        let mut timing = self.shared.timing();
        timing.alarms = Alarms { retry: Some(Instant::now() + RETRY), ..Default::default() };
        timing.arm();
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        self.let_go();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, there is nothing left to do about it here.
            let _ = thread.join();
        }
    }
}

/// Tells a writer of output when to give up: the run has been ended from outside, and output has had its time.
pub struct Patience(Arc<Shared>);

impl Patience {
    /// Whether to give up.
    pub fn is_over(&self) -> bool {
        self.0.ended.get().is_some_and(|ended| ended.elapsed() > LAST_OUTPUT)
    }
}

/// What the thread does.
struct Watcher {
    shared: Arc<Shared>,
    kick: Kick,
    sender: Sender<WallEvent>,
    signals: Option<&'static EventFd>,
    stdin: Option<Stdin>,
}

/// Standard input.
struct Stdin {
    file: File,
    /// Files and the like cannot be waited for: they are always ready.
    pollable: bool,
    /// Being waited for.
    watched: bool,
}

fn open_stdin() -> Result<Stdin, VmmError> {
    let fd = std::io::stdin().as_fd().try_clone_to_owned().map_err(VmmError::resource("standard input"))?;
    Ok(Stdin { file: File::from(fd), pollable: true, watched: false })
}

const TIMER: u32 = 0;
const WAKE: u32 = 1;
const SIGNALS: u32 = 2;
const STDIN: u32 = 3;

impl Watcher {
    /// Sends, and kicks.
    fn tell(&self, event: WallEvent) {
        if matches!(event, WallEvent::Timeout | WallEvent::Signal(_)) {
            let _ = self.shared.ended.set(Instant::now());
        }
        // Nobody listens any more when the run is over; then there is nothing to tell.
        if self.sender.send(event).is_ok() {
            self.kick.ask();
            let mut timing = self.shared.timing();
            timing.alarms.retry = Some(Instant::now() + RETRY);
            timing.arm();
        }
    }

    fn timer(&self) {
        loop {
            let due = {
                let mut timing = self.shared.timing();
                let heard = self.shared.heard.load(Ordering::Relaxed);
                match timing.alarms.due(Instant::now(), heard, || self.doing()) {
                    Some(due) => due,
                    None => return timing.rearm(),
                }
            };
            match due {
                Due::Timeout => self.tell(WallEvent::Timeout),
                Due::Watchdog(generation) => self.tell(WallEvent::Watchdog(generation)),
                Due::Flush => self.tell(WallEvent::Flush),
                Due::Silence => self.tell(WallEvent::Silence),
                Due::Retry if self.kick.is_open() => {
                    self.kick.ask();
                    self.shared.timing().alarms.retry = Some(Instant::now() + RETRY);
                }
                Due::Retry => {}
            }
        }
    }

    /// What the thread that runs the guest has been doing: how long it has run (Linux
    /// `Documentation/scheduler/sched-stats.rst`), and whether it sleeps now (`Documentation/filesystems/proc.rst`).
    fn doing(&self) -> Option<Doing> {
        let read = |file| {
            std::fs::read_to_string(format!("/proc/self/task/{}/{file}", self.kick.0.target.thread())).ok()
        };
        let ran = read("schedstat")?.split_whitespace().next()?.parse().ok()?;
        // Behind the name, which may hold anything.
        let state = read("stat")?.rsplit_once(')')?.1.trim_start().chars().next()?;
        Some(Doing { ran: Duration::from_nanos(ran), asleep: state == 'S' })
    }

    fn signal(&mut self, ops: &mut EventOps) {
        if let Some(events) = self.signals.take() {
            // The descriptor stays readable for other walls; this one has been told.
            let _ = ops.remove(Events::with_data(events, SIGNALS, EventSet::IN));
            self.tell(WallEvent::Signal(LAST_SIGNAL.load(Ordering::Acquire)));
        }
    }

    /// Waits for input, or reads it where it cannot be waited for.
    fn want_input(&mut self, ops: &mut EventOps) {
        let Some(stdin) = self.stdin.as_mut().filter(|stdin| !stdin.watched) else { return };
        if stdin.pollable {
            stdin.watched = ops.add(Events::with_data(&stdin.file, STDIN, EventSet::IN)).is_ok();
            stdin.pollable = stdin.watched;
        }
        if !stdin.pollable {
            self.input(ops);
        }
    }

    fn input(&mut self, ops: &mut EventOps) {
        let Some(stdin) = self.stdin.as_mut() else { return };
        if stdin.watched {
            let _ = ops.remove(Events::with_data(&stdin.file, STDIN, EventSet::IN));
            stdin.watched = false;
        }
        let mut bytes = vec![0; INPUT_BYTES];
        match stdin.file.read(&mut bytes) {
            Ok(len) if len > 0 => {
                bytes.truncate(len);
                self.tell(WallEvent::Input(bytes));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => self.want_input(ops),
            // The end of input, or one that cannot be read: the guest gets no more.
            _ => self.stdin = None,
        }
    }
}

impl MutEventSubscriber for Watcher {
    fn init(&mut self, ops: &mut EventOps) {
        // These descriptors are new, so they can be added; without them the thread would only wait for its end.
        let _ = ops.add(Events::with_data(&self.shared.timing().timer, TIMER, EventSet::IN));
        let _ = ops.add(Events::with_data(&self.shared.wake, WAKE, EventSet::IN));
        if let Some(signals) = self.signals {
            let _ = ops.add(Events::with_data(signals, SIGNALS, EventSet::IN));
        }
        self.want_input(ops);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps) {
        match events.data() {
            TIMER => self.timer(),
            SIGNALS => self.signal(ops),
            STDIN => self.input(ops),
            _ => {
                let _ = self.shared.wake.read();
                if self.shared.more_input.swap(false, Ordering::AcqRel) {
                    self.want_input(ops);
                }
            }
        }
    }
}

/// Readable from the first SIGINT or SIGTERM on, for all walls of this process.
static END_SIGNALS: OnceLock<EventFd> = OnceLock::new();
/// The last of these signals.
static LAST_SIGNAL: AtomicI32 = AtomicI32::new(0);

fn end_signals() -> Result<&'static EventFd, VmmError> {
    if END_SIGNALS.get().is_none() {
        let events = EventFd::new(EFD_NONBLOCK).map_err(VmmError::resource("an event descriptor"))?;
        let _ = END_SIGNALS.set(events);
        for signal in [libc::SIGINT, libc::SIGTERM] {
            register_signal_handler(signal, on_end_signal).map_err(VmmError::resource("a signal handler"))?;
        }
    }
    END_SIGNALS
        .get()
        .ok_or(VmmError::Resource { what: "an event descriptor", error: std::io::ErrorKind::NotFound.into() })
}

/// Runs in the middle of anything: it stores a number and writes to a descriptor that never blocks, no more.
extern "C" fn on_end_signal(signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    LAST_SIGNAL.store(signal, Ordering::Release);
    if let Some(events) = END_SIGNALS.get() {
        let _ = events.write(1);
    }
}
