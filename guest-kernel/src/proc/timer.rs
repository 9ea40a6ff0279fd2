//! The timer's interrupt as the kernel sees it.

/// The timer's interrupt.
#[derive(Default)]
pub(crate) struct TimerInterrupt {
    /// It was raised and is not yet acknowledged.
    raised: bool,
    /// A process that was doomed is to be ended at the next.
    doomed: bool,
    /// So many of the next ones are lost on their way.
    lost: u32,
}

impl TimerInterrupt {
    /// Loses the next `count` interrupts on their way.
    pub(super) fn lose(&mut self, count: u32) {
        self.lost = self.lost.saturating_add(count);
    }

    /// Whether the interrupt that comes now is lost on its way.
    pub(super) fn is_lost(&mut self) -> bool {
        let lost = self.lost > 0;
        self.lost = self.lost.saturating_sub(1);
        lost
    }

    /// Raises the interrupt; returns false if the last one is not yet acknowledged.
    pub(super) fn raise(&mut self) -> bool {
        !core::mem::replace(&mut self.raised, true)
    }

    /// Acknowledges the interrupt; returns whether it had been raised.
    pub(super) fn acknowledge(&mut self) -> bool {
        core::mem::take(&mut self.raised)
    }

    /// Notes that a process is to be ended at the next interrupt.
    pub(crate) fn doom(&mut self) {
        self.doomed = true;
    }

    /// Whether a process is to be ended now; asks only once.
    pub(super) fn take_doom(&mut self) -> bool {
        core::mem::take(&mut self.doomed)
    }

    /// Whether the interrupt was raised and is not yet acknowledged.
    #[cfg(test)]
    pub(crate) fn is_raised(&self) -> bool {
        self.raised
    }
}
