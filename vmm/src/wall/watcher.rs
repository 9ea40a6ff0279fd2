//! What the thread of the wall does.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::eventfd::EventFd;

use crate::error::VmmError;
use crate::wall::alarms::{Doing, Due, RETRY};
use crate::wall::event::WallEvent;
use crate::wall::kick::Kick;
use crate::wall::shared::Shared;
use crate::wall::signals;

/// Most bytes of input in one event.
const INPUT_BYTES: usize = 4096;

/// What the thread does.
pub(super) struct Watcher {
    pub(super) shared: Arc<Shared>,
    pub(super) kick: Kick,
    pub(super) sender: Sender<WallEvent>,
    pub(super) signals: Option<&'static EventFd>,
    pub(super) stdin: Option<Stdin>,
}

/// Standard input.
pub(super) struct Stdin {
    file: File,
    /// Whether it can be polled; regular files cannot, they are always ready.
    pollable: bool,
    /// Whether it is being polled.
    watched: bool,
}

pub(super) fn open_stdin() -> Result<Stdin, VmmError> {
    let fd = std::io::stdin().as_fd().try_clone_to_owned().map_err(VmmError::resource("standard input"))?;
    Ok(Stdin { file: File::from(fd), pollable: true, watched: false })
}

const TIMER: u32 = 0;
const WAKE: u32 = 1;
const SIGNALS: u32 = 2;
const STDIN: u32 = 3;

impl Watcher {
    /// Sends an event and kicks the thread that runs the guest.
    fn tell(&self, event: WallEvent) {
        if matches!(event, WallEvent::Timeout | WallEvent::Signal(_)) {
            let _ = self.shared.ended.set(Instant::now());
        }
        // The receiver is gone when the run is over; then the event no longer matters.
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
                match timing.alarms.due(Instant::now(), heard, self.kick.is_open(), || self.doing()) {
                    Some(due) => due,
                    None => return timing.rearm(),
                }
            };
            match due {
                Due::Timeout => self.tell(WallEvent::Timeout),
                Due::Watchdog(generation) => self.tell(WallEvent::Watchdog(generation)),
                Due::Flush => self.tell(WallEvent::Flush),
                Due::Silence => self.tell(WallEvent::Silence),
                Due::Retry => self.kick.ask(),
            }
        }
    }

    /// The state of the thread that runs the guest: how long it has run (Linux
    /// `Documentation/scheduler/sched-stats.rst`), and whether it sleeps now
    /// (`Documentation/filesystems/proc.rst`).
    fn doing(&self) -> Option<Doing> {
        let read =
            |file| std::fs::read_to_string(format!("/proc/self/task/{}/{file}", self.kick.thread())).ok();
        let ran = read("schedstat")?.split_whitespace().next()?.parse().ok()?;
        // After the name, which may contain any character.
        let state = read("stat")?.rsplit_once(')')?.1.trim_start().chars().next()?;
        Some(Doing { ran: Duration::from_nanos(ran), asleep: state == 'S' })
    }

    fn signal(&mut self, ops: &mut EventOps) {
        if let Some(events) = self.signals.take() {
            // The descriptor stays readable for other walls; this one has sent its event.
            let _ = ops.remove(Events::with_data(events, SIGNALS, EventSet::IN));
            self.tell(WallEvent::Signal(signals::last()));
        }
    }

    /// Starts polling for input, or reads it at once where it cannot be polled.
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
            // The end of input, or an error: the guest gets no more.
            _ => self.stdin = None,
        }
    }
}

impl MutEventSubscriber for Watcher {
    fn init(&mut self, ops: &mut EventOps) {
        // These descriptors are new, so they can be added; without them the thread would only wait for its
        // end.
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
