//! A network that loses, doubles or delays what passes, by order of the host. Without an order nothing of it is reached.

use abi::info::{COMMAND_DELAY_DATAGRAM, COMMAND_DOUBLE_DATAGRAMS, COMMAND_DROP_DATAGRAMS};

use super::Ipc;
use super::buffers::BUFFER_WORDS;
use crate::base::hardware::Hardware;
use crate::base::index::PortIndex;

/// What the network does wrong.
#[derive(Default)]
pub(crate) struct Impairment {
    /// Whether it does any of the following.
    active: bool,
    /// Datagrams that are still to be lost.
    drop: u32,
    /// Datagrams that are still to arrive twice.
    double: u32,
    /// Ticks that the next datagram is to be late.
    delay: u32,
    /// The datagram that is under way.
    late: Option<Late>,
}

/// A datagram that is late.
#[derive(Clone, Copy)]
pub(crate) struct Late {
    /// The port's number.
    pub port: u64,
    /// The buffer that holds it.
    pub buffer: u8,
    /// The tick at which it arrives.
    pub due: u64,
}

impl Impairment {
    /// Whether it does anything wrong.
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

    /// Whether a datagram is under way.
    pub(crate) fn is_late(&self) -> bool {
        self.late.is_some()
    }
}

impl<H: Hardware> Ipc<H> {
    /// What becomes of a datagram that was sent to the port at `place`. Its sender takes it for sent in any case.
    #[cold]
    #[inline(never)]
    pub(crate) fn pass_impaired(&mut self, place: PortIndex, buffer: u8) {
        let now = self.now();
        let network = &mut self.impairment;
        if network.drop > 0 {
            network.drop -= 1;
            self.put_buffer(buffer);
        } else if network.delay > 0 && network.late.is_none() {
            let due = now + u64::from(core::mem::take(&mut network.delay));
            network.late = Some(Late { port: self.ports[place].number, buffer, due });
        } else if network.double > 0 {
            network.double -= 1;
            let twin = self.copy_buffer(buffer);
            self.arrive(place, buffer);
            match twin {
                Some(twin) if !self.ports[place].mail.is_full() => self.arrive(place, twin),
                Some(twin) => self.put_buffer(twin),
                None => {}
            }
        } else {
            self.arrive(place, buffer);
        }
        let Impairment { drop, double, delay, .. } = self.impairment;
        self.impairment.active = drop | double | delay != 0;
    }

    fn copy_buffer(&mut self, buffer: u8) -> Option<u8> {
        let twin = self.take_buffer()?;
        let ((from, first), (to, start)) = (self.buffers.at(buffer), self.buffers.at(twin));
        for nth in 0..BUFFER_WORDS {
            let word = self.hw().page(from).0[first + nth];
            self.hw().page(to).0[start + nth] = word;
        }
        self.buffers.letters[usize::from(twin)] = self.buffers.letters[usize::from(buffer)];
        Some(twin)
    }

    /// A datagram that was late arrives, if it is time to, there is room for it, and its port is still there.
    #[cold]
    #[inline(never)]
    pub(crate) fn late_arrival(&mut self) {
        let Some(Late { port, buffer, due }) = self.impairment.late else { return };
        match self.ports.find(port) {
            Some(place) if due > self.now() || self.ports[place].mail.is_full() => return,
            Some(place) => self.arrive(place, buffer),
            None => self.put_buffer(buffer),
        }
        self.impairment.late = None;
    }
}
