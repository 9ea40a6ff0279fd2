//! The way of a datagram from its sender to its port where the host has ordered the network to do wrong.

use super::Ipc;
use super::buffers::BUFFER_WORDS;
use super::impairment::{Fate, Late};
use crate::base::hardware::Hardware;
use crate::base::index::PortIndex;

impl<H: Hardware> Ipc<H> {
    /// Delivers a datagram that was sent to the port at `place`, or does not. Its sender takes it for sent in
    /// any case.
    #[cold]
    #[inline(never)]
    pub(super) fn deliver_impaired(&mut self, place: PortIndex, buffer: u8) {
        match self.impairment.fate() {
            Fate::Drop => self.put_buffer(buffer),
            Fate::Delay(ticks) => {
                let due = self.now() + ticks;
                let port = self.ports[place].number;
                self.impairment.set_late(Some(Late { port, buffer, due }));
            }
            Fate::Double => {
                let twin = self.copy_buffer(buffer);
                self.arrive(place, buffer);
                match twin {
                    Some(twin) if !self.ports[place].mail.is_full() => self.arrive(place, twin),
                    Some(twin) => self.put_buffer(twin),
                    None => {}
                }
            }
            Fate::Arrive => self.arrive(place, buffer),
        }
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

    /// Delivers a delayed datagram once it is due and its port has room; drops it if the port was closed.
    #[cold]
    #[inline(never)]
    pub(crate) fn deliver_late(&mut self) {
        let Some(Late { port, buffer, due }) = self.impairment.late() else { return };
        match self.ports.find(port) {
            Some(place) if due > self.now() || self.ports[place].mail.is_full() => return,
            Some(place) => self.arrive(place, buffer),
            None => self.put_buffer(buffer),
        }
        self.impairment.set_late(None);
    }
}
