//! How an incarnation of a guest ends.

/// Why a machine was reset; the numbers of [`abi::trace::Kind::Reset`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    Guest = 1,
    Watchdog = 2,
    /// Triple fault, or an instruction that the host's KVM cannot carry out: the same to the guest.
    Processor = 3,
}

/// How an incarnation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The run's time is over.
    Lasted,
    /// After a reset: long enough to judge it.
    Settled {
        healthy: bool,
    },
    Reset(Cause),
    /// No progress, and no watchdog to find out.
    Hung,
    Signal(i32),
}
