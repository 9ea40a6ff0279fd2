//! How things end: the terms that scenarios, experiments, reports and campaigns share.

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran to its last tick, and nothing was wrong.
    Healthy,
    /// It ran to its last tick and nothing was damaged, but processes were killed, restarted or tagged without need.
    Disturbed,
    /// It ran to its last tick, but memory was shared wrongly or both writable and executable, datagrams were damaged, or
    /// processes crashed.
    Corrupted,
    /// It collapsed, was reset, and came up healthy.
    Recovered,
    /// It collapsed, and did not come up healthy.
    Crashed,
    /// It made no progress, and nothing brought it back.
    Hung,
    /// With faults: no visible effect, and no remaining damage.
    Masked,
    /// With faults: no visible effect, but damage remains.
    Latent,
    /// With faults: something noticed them.
    Detected,
}

impl Outcome {
    /// The name in verdicts and scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Disturbed => "disturbed",
            Self::Corrupted => "corrupted",
            Self::Recovered => "recovered",
            Self::Crashed => "crashed",
            Self::Hung => "hung",
            Self::Masked => "masked",
            Self::Latent => "latent",
            Self::Detected => "detected",
        }
    }
}

/// Why a machine was reset. The numbers are those of [`abi::trace::Kind::Reset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCause {
    /// The guest reset itself.
    Guest = 1,
    /// The last stage of the watchdog expired.
    Watchdog = 2,
    /// The processor could not go on: a triple fault, or an instruction that the host's KVM cannot execute.
    Processor = 3,
}

/// How one incarnation of a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncarnationEnd {
    /// It ran to the scenario's last tick.
    Lasted,
    /// It is the incarnation after a reset, and ran long enough to be judged.
    Judged {
        /// The judgement.
        healthy: bool,
    },
    /// The machine was reset.
    Reset(ResetCause),
    /// It made no progress, and no watchdog noticed.
    Hung,
}

impl IncarnationEnd {
    /// Whether the time was over, rather than the guest broken.
    pub const fn is_planned(self) -> bool {
        matches!(self, Self::Lasted | Self::Judged { .. })
    }
}
