//! Hardware that does wrong, by order of the host: a timer whose interrupts are lost or come unasked, memory that is not
//! to be had, a network that loses, doubles or delays what passes.
//!
//! What a real machine's hardware would do by itself below the kernel is done here below it: in the virtual clock, in the
//! free list, between sender and port. No other part of the kernel knows of it, and without an order nothing of it is ever
//! reached.

use abi::Pid;
use abi::frame::FrameKind;
use abi::info::{
    COMMAND_DELAY_DATAGRAM, COMMAND_DOUBLE_DATAGRAMS, COMMAND_DROP_DATAGRAMS, COMMAND_GIVE_BACK,
    COMMAND_LOSE_INTERRUPTS, COMMAND_RAISE_INTERRUPT, COMMAND_WITHHOLD,
};

use crate::buffers::BUFFER_WORDS;
use crate::hardware::Hardware;
use crate::kernel::Kernel;
use crate::pager::Chain;

/// What is broken.
#[derive(Default)]
pub struct Broken {
    /// Entries that are left of this tick after an interrupt that nobody asked for; 0 if none is to come.
    pub rest: u32,
    /// Frames that are withheld.
    withheld: Chain,
    /// Whether the network does any of the following.
    pub network: bool,
    /// Datagrams that are still to be lost.
    drop: u32,
    /// Datagrams that are still to arrive twice.
    double: u32,
    /// Ticks that the next datagram is to be late.
    delay: u32,
    /// The datagram that is under way.
    pub late: Option<Late>,
}

/// A datagram that is late.
#[derive(Clone, Copy)]
pub struct Late {
    /// The port's number.
    pub port: u64,
    /// The buffer that holds it.
    pub buffer: u8,
    /// The tick at which it arrives.
    pub due: u64,
}

#[cfg(test)]
impl Broken {
    /// The frames that are withheld.
    pub(crate) fn withheld(&self, pager: &crate::pager::Pager) -> std::vec::Vec<u32> {
        let next = |number: &u32| pager.entry(abi::Frame(u64::from(*number))).map(|entry| entry.next);
        core::iter::successors(Some(self.withheld.first), next).take_while(|number| *number != 0).collect()
    }
}

impl<H: Hardware> Kernel<H> {
    /// From now on something is broken. Orders that nobody knows do nothing.
    #[cold]
    #[inline(never)]
    pub(crate) fn break_hardware(&mut self, what: u32, subject: u32) {
        let broken = &mut self.broken;
        broken.network |= (COMMAND_DROP_DATAGRAMS..=COMMAND_DELAY_DATAGRAM).contains(&what);
        match what {
            COMMAND_LOSE_INTERRUPTS => self.timer.lost = self.timer.lost.saturating_add(subject),
            COMMAND_RAISE_INTERRUPT => {
                // At the doorbell a whole tick is left. One that is too short to be divided has the interrupt at once.
                broken.rest = self.left / 2;
                self.left -= self.left / 2;
                if self.broken.rest == 0 {
                    self.timer_interrupt();
                }
            }
            COMMAND_WITHHOLD => self.withhold(subject),
            COMMAND_GIVE_BACK => {
                for _ in 0..subject {
                    let Some(frame) = self.pager.unchain(&mut self.broken.withheld) else { break };
                    self.take_back(Pid::NONE, frame);
                }
            }
            COMMAND_DROP_DATAGRAMS => broken.drop = broken.drop.saturating_add(subject),
            COMMAND_DOUBLE_DATAGRAMS => broken.double = broken.double.saturating_add(subject),
            COMMAND_DELAY_DATAGRAM => broken.delay = subject,
            _ => {}
        }
    }

    /// What becomes of a datagram that was sent to the port at `place`. Its sender takes it for sent in any case.
    #[cold]
    #[inline(never)]
    pub(crate) fn pass_broken_network(&mut self, place: usize, buffer: u8) {
        let broken = &mut self.broken;
        if broken.drop > 0 {
            broken.drop -= 1;
            self.put_buffer(buffer);
        } else if broken.delay > 0 && broken.late.is_none() {
            let due = self.info.tick + u64::from(core::mem::take(&mut broken.delay));
            broken.late = Some(Late { port: self.ports.bound[place].number, buffer, due });
        } else if broken.double > 0 {
            broken.double -= 1;
            let twin = self.copy_buffer(buffer);
            self.arrive(place, buffer);
            match twin {
                Some(twin) if !self.ports.bound[place].mail.is_full() => self.arrive(place, twin),
                Some(twin) => self.put_buffer(twin),
                None => {}
            }
        } else {
            self.arrive(place, buffer);
        }
        let Broken { drop, double, delay, .. } = self.broken;
        self.broken.network = drop | double | delay != 0;
    }

    fn copy_buffer(&mut self, buffer: u8) -> Option<u8> {
        let twin = self.take_buffer()?;
        let ((from, first), (to, start)) = (self.buffers.at(buffer), self.buffers.at(twin));
        for nth in 0..BUFFER_WORDS {
            let word = self.hw.page(from).0[first + nth];
            self.hw.page(to).0[start + nth] = word;
        }
        self.buffers.letters[usize::from(twin)] = self.buffers.letters[usize::from(buffer)];
        Some(twin)
    }

    /// A datagram that was late arrives, if it is time to, there is room for it, and its port is still there.
    #[cold]
    #[inline(never)]
    pub(crate) fn late_arrival(&mut self) {
        let Some(Late { port, buffer, due }) = self.broken.late else { return };
        match self.ports.find(port) {
            Some(place) if due > self.info.tick || self.ports.bound[place].mail.is_full() => return,
            Some(place) => self.arrive(place, buffer),
            None => self.put_buffer(buffer),
        }
        self.broken.late = None;
    }

    /// Memory that is gone was free: nobody has lost anything by it, and the quarantine is not touched.
    fn withhold(&mut self, frames: u32) {
        for _ in 0..frames.min(self.pager.free_frames()) {
            let Ok(frame) = self.give_loose(Pid::NONE, FrameKind::Kernel) else { return };
            self.pager.chain(&mut self.broken.withheld, frame);
        }
    }
}
