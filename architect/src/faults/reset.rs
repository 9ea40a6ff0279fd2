//! Resets: who made a machine start anew, and from where it went on.

/// Who made a machine start anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The guest itself, after an NMI.
    NmiHandler,
    /// The guest itself, without one.
    Guest,
    /// The watchdog's last stage.
    Watchdog,
    /// The VMM, whose processor could not go on.
    Vmm,
}

impl Reset {
    /// The name in verdicts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NmiHandler => "nmi-handler",
            Self::Guest => "guest",
            Self::Watchdog => "watchdog",
            Self::Vmm => "vmm",
        }
    }
}

/// From where a machine goes on after a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutBack {
    /// It boots anew.
    #[default]
    Boot,
    /// It is put back to the snapshot of a guest that has booted.
    Snapshot,
}

impl PutBack {
    /// The name in verdicts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Snapshot => "snapshot",
        }
    }
}
