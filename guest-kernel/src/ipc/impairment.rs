//! What the network does wrong by order of the host: it loses, doubles or delays datagrams.

use abi::info::{COMMAND_DELAY_DATAGRAM, COMMAND_DOUBLE_DATAGRAMS, COMMAND_DROP_DATAGRAMS};

/// The host's orders that are still to be carried out.
#[derive(Default)]
pub(crate) struct Impairment {
    /// Whether any of the following is to be done.
    active: bool,
    /// Datagrams to lose.
    drop: u32,
    /// Datagrams to deliver twice.
    double: u32,
    /// Ticks by which to delay the next datagram.
    delay: u32,
    /// The datagram that is under way.
    late: Option<Late>,
}

/// A delayed datagram.
#[derive(Clone, Copy)]
pub(super) struct Late {
    /// The port's number.
    pub(super) port: u64,
    /// The buffer that holds it.
    pub(super) buffer: u8,
    /// The tick at which it arrives.
    pub(super) due: u64,
}

/// What happens to a datagram.
pub(super) enum Fate {
    /// It is lost.
    Drop,
    /// It arrives so many ticks late.
    Delay(u64),
    /// It arrives twice.
    Double,
    /// It arrives.
    Arrive,
}

impl Impairment {
    /// Whether the next datagram needs [`Self::fate`].
    #[inline(always)]
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Takes an order of the host.
    pub(crate) fn order(&mut self, what: u32, subject: u32) {
        self.active = true;
        match what {
            COMMAND_DROP_DATAGRAMS => self.drop = self.drop.saturating_add(subject),
            COMMAND_DOUBLE_DATAGRAMS => self.double = self.double.saturating_add(subject),
            COMMAND_DELAY_DATAGRAM => self.delay = subject,
            _ => {}
        }
    }

    /// Decides what happens to the next datagram.
    pub(super) fn fate(&mut self) -> Fate {
        let fate = if self.drop > 0 {
            self.drop -= 1;
            Fate::Drop
        } else if self.delay > 0 && self.late.is_none() {
            Fate::Delay(u64::from(core::mem::take(&mut self.delay)))
        } else if self.double > 0 {
            self.double -= 1;
            Fate::Double
        } else {
            Fate::Arrive
        };
        self.active = self.drop | self.double | self.delay != 0;
        fate
    }

    /// The datagram that is under way.
    pub(super) fn late(&self) -> Option<Late> {
        self.late
    }

    /// Replaces the datagram that is under way.
    pub(super) fn set_late(&mut self, late: Option<Late>) {
        self.late = late;
    }

    /// Whether a datagram is under way.
    pub(crate) fn is_late(&self) -> bool {
        self.late.is_some()
    }
}
