//! SIGINT and SIGTERM, as events.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use vmm_sys_util::signal::register_signal_handler;

use crate::error::VmmError;

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    fn of(number: i32) -> Self {
        if number == libc::SIGTERM { Self::Terminate } else { Self::Interrupt }
    }

    /// The exit status of a process that it has ended, by the convention of shells.
    pub const fn exit_status(self) -> u8 {
        128 + self.number() as u8
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Becomes readable with the first SIGINT or SIGTERM, for all walls of this process.
static END_SIGNALS: OnceLock<EventFd> = OnceLock::new();
/// The last of these signals.
static LAST_SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The last of these signals that came.
pub(super) fn last() -> Signal {
    Signal::of(LAST_SIGNAL.load(Ordering::Acquire))
}

/// Installs the handlers, once in a process.
pub(super) fn end_signals() -> Result<&'static EventFd, VmmError> {
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

/// Async-signal-safe: it only stores a number and writes to a descriptor that never blocks.
extern "C" fn on_end_signal(signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    LAST_SIGNAL.store(signal, Ordering::Release);
    if let Some(events) = END_SIGNALS.get() {
        let _ = events.write(1);
    }
}
