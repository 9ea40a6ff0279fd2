//! Real time in a run: the silence of the guest, and signals.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use vmm::wall::{Kick, Wall, WallConfig, WallEvent};

use crate::error::{Error, VmmError};

/// The run's real-time clock.
pub(super) struct Clock {
    begin: Instant,
    wall: Wall,
    events: Receiver<WallEvent>,
}

impl Clock {
    /// Starts it; it kicks the calling thread.
    pub(super) fn start(begin: Instant, silence: Duration) -> Result<Self, VmmError> {
        let config = WallConfig { silence: Some(silence), signals: true, ..WallConfig::default() };
        let (wall, events) = Wall::spawn(config)?;
        Ok(Self { begin, wall, events })
    }

    /// What a machine has to ask before it enters the guest.
    pub(super) fn kick(&self) -> Kick {
        self.wall.kick()
    }

    /// The guest rang: its time of silence starts anew.
    pub(super) fn heard(&self) {
        self.wall.heard();
    }

    /// Whether the guest has been silent for too long.
    ///
    /// # Errors
    ///
    /// A signal interrupted the run.
    pub(super) fn is_silent(&self) -> Result<bool, Error> {
        while let Ok(event) = self.events.try_recv() {
            match event {
                WallEvent::Signal(signal) => return Err(Error::Interrupted(signal)),
                WallEvent::Silence => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Real time since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }
}
