//! The loopback network: datagrams between ports, each in a buffer of a bounded pool.
//!
//! ```text
//! sender's memory --copy--> buffer, in the port's queue --copy--> collector's memory
//! ```
//!
//! A checksum is formed when a datagram passes in, and compared when it passes out. A damaged datagram is
//! delivered all the same and marked as damaged; the receiver decides what it is worth. There are no
//! acknowledgements.

use abi::Pid;
use abi::frame::FrameKind;
use abi::process::State;
use abi::syscall::{DAMAGED, DATAGRAM_BYTES, Error};
use abi::trace::Kind;

use super::buffers::Letter;
use super::ports::Port;
use super::{Ipc, flows};
use crate::base::arguments::{CollectArguments, PostArguments};
use crate::base::hardware::Hardware;
use crate::base::index::{PortIndex, Slot};
use crate::mem::copy::{UserPtr, sum};

/// Words of header in a buffer: the checksum; the sender and, above it, the sequence number.
const HEADER: usize = 2;
/// Words of data in a buffer.
const WORDS: usize = (DATAGRAM_BYTES / 8) as usize;

/// What came of an attempt to send.
enum Posted {
    Sent,
    /// It must wait, for room at this place in the port table or for a buffer; `peer` could make some.
    Wait {
        place: PortIndex,
        peer: Pid,
    },
}

impl<H: Hardware> Ipc<H> {
    /// Sends a datagram. When it must wait, the call is made again later.
    #[inline(never)]
    pub(crate) fn post(&mut self, slot: Slot, arguments: PostArguments) -> Result<(), Error> {
        let again = self.ask_for_transfer(slot, arguments.timeout);
        let result = match self.try_post(slot, arguments) {
            Ok(Posted::Sent) => Ok(()),
            Ok(Posted::Wait { place, peer }) => {
                match self.wait_at_gateway(slot, place, arguments.bytes, peer, again) {
                    Ok(()) => return Ok(()),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        let process = self.process(slot);
        process.transfer.number = 0;
        if result.is_ok() {
            process.d.context.rax = 0;
        } else if again {
            // The room that it was let in for is available to others now.
            self.open_gates();
        }
        result
    }

    fn try_post(&mut self, slot: Slot, arguments: PostArguments) -> Result<Posted, Error> {
        let PostArguments { port: number, at, bytes, .. } = arguments;
        if bytes > DATAGRAM_BYTES {
            return Err(Error::Invalid);
        }
        if !self.may_be_set_back(slot) {
            return Err(Error::BadAddress);
        }
        let from = UserPtr::new(at, bytes)?;
        let place = self.ports.find(number).ok_or(Error::NotFound)?;
        if self.ports[place].mail.is_full() {
            return Ok(Posted::Wait { place, peer: self.ports[place].owner });
        }
        let Some(buffer) = self.take_buffer() else {
            return if self.buffers.used() == 0 {
                Err(Error::Exhausted)
            } else {
                Ok(Posted::Wait { place, peer: self.holder(slot) })
            };
        };
        let mut words = [0; WORDS];
        let check = match self.copy_in(slot, from, &mut words) {
            Ok(check) => check,
            Err(error) => {
                self.put_buffer(buffer);
                return Err(error);
            }
        };
        let process = self.process(slot);
        process.d.messages += 1;
        let (pid, uid, sequence) = (process.d.pid, process.d.uid, process.transfer.number as u32);
        let header = u64::from(pid.0) | u64::from(sequence) << 32;
        let (frame, first) = self.buffers.at(buffer);
        let target = &mut self.hw().page(frame).0[first..];
        target[0] = check.wrapping_add(header);
        target[1] = header;
        for (to, word) in target[HEADER..].iter_mut().zip(&words[..from.words()]) {
            *to = *word;
        }
        self.buffers.letters[usize::from(buffer)] = Letter { uid, bytes: bytes as u8, next: 0 };
        let owner = self.ports[place].owner;
        self.counters().datagrams += 1;
        let now = self.now();
        flows::count(self.flows, (pid, owner), number, bytes, now);
        self.emit(Kind::Datagram, pid, number as u32, u64::from(owner.0), u64::from(sequence));
        if self.impairment.is_active() {
            self.deliver_impaired(place, buffer);
        } else {
            self.arrive(place, buffer);
        }
        Ok(Posted::Sent)
    }

    /// A datagram has come to its port, which has room for it.
    pub(crate) fn arrive(&mut self, place: PortIndex, buffer: u8) {
        self.ports[place].mail.push(&mut self.buffers, buffer);
        let owner = self.ports[place].owner;
        let collector = self.process(Slot::of(owner));
        if collector.d.state == State::Collecting as u8 && collector.port == place {
            self.timers().cancel(Slot::of(owner));
            if self.pick_up(Slot::of(owner), place).is_err() {
                // Whatever is wrong with its memory is for its own call to find out.
                self.set_back(Slot::of(owner));
            }
            self.make_ready(Slot::of(owner));
        }
    }

    /// Waits for a datagram.
    #[inline(never)]
    pub(crate) fn collect(&mut self, slot: Slot, arguments: CollectArguments) -> Result<(), Error> {
        let CollectArguments { port: number, at, capacity, timeout } = arguments;
        let pid = self.process(slot).d.pid;
        if !self.may_be_set_back(slot) {
            return Err(Error::BadAddress);
        }
        UserPtr::new(at, capacity.min(DATAGRAM_BYTES))?;
        let place = self.ports.find(number).ok_or(Error::NotFound)?;
        if self.ports[place].owner != pid {
            return Err(Error::Denied);
        }
        if self.ports[place].mail.count() == 0 {
            self.wait_at_port(slot, place, State::Collecting, timeout);
            return Ok(());
        }
        self.pick_up(slot, place)?;
        self.open_gates();
        Ok(())
    }

    /// Gives the first datagram at a port to its owner, if the owner's memory can take it; otherwise it
    /// stays.
    fn pick_up(&mut self, slot: Slot, place: PortIndex) -> Result<(), Error> {
        let Port { number, mut mail, .. } = self.ports[place];
        let Some(buffer) = mail.pop(&self.buffers) else { return Err(Error::NotFound) };
        let Letter { uid, bytes, .. } = self.buffers.letters[usize::from(buffer)];
        let (frame, first) = self.buffers.at(buffer);
        let source = &self.hw().page(frame).0[first..];
        let (mark, header) = (source[0], source[1]);
        let (mut words, mut check) = ([0; WORDS], 0);
        for (to, word) in words[..usize::from(bytes).div_ceil(8)].iter_mut().zip(&source[HEADER..]) {
            *to = *word;
            check = sum(check, *word);
        }
        let CollectArguments { at, capacity, .. } = self.arguments(slot);
        let bytes = u64::from(bytes).min(capacity);
        self.copy_out(slot, UserPtr::new(at, bytes)?, &words)?;
        self.ports[place].mail = mail;
        self.put_buffer(buffer);
        let (sender, mut sequence) = (Pid(header as u32), header >> 32);
        if check.wrapping_add(header) != mark {
            self.counters().damaged += 1;
            flows::damaged(self.flows, sender, number);
            let pid = self.process(slot).d.pid;
            self.emit(Kind::Damaged, pid, number as u32, u64::from(sender.0), sequence);
            sequence |= DAMAGED;
        }
        let process = self.process(slot);
        process.d.messages += 1;
        let context = &mut process.d.context;
        context.rax = 0;
        context.rdi = u64::from(sender.0);
        context.rsi = bytes;
        context.rdx = sequence;
        context.r10 = u64::from(uid);
        Ok(())
    }

    /// Finds a process that holds buffers in a port's queue and could free one: one that does not wait at the
    /// gateway itself if there is one, else the one with most.
    fn holder(&mut self, asker: Slot) -> Pid {
        let (mut holder, mut most) = (Pid::NONE, 0);
        for place in self.ports.places() {
            let (owner, count) = (self.ports[place].owner, self.ports[place].mail.count());
            if count == 0 {
                continue;
            }
            if Slot::of(owner) != asker && self.process(Slot::of(owner)).d.state != State::Gated as u8 {
                return owner;
            }
            if count > most {
                (holder, most) = (owner, count);
            }
        }
        holder
    }

    /// The datagrams at a port that closes are lost.
    pub(crate) fn drop_mail(&mut self, place: PortIndex) {
        while let Some(buffer) = self.ports[place].mail.pop(&self.buffers) {
            self.put_buffer(buffer);
        }
    }

    /// Takes a buffer, with a new frame if necessary; `None` at the limit, and without memory.
    pub(crate) fn take_buffer(&mut self) -> Option<u8> {
        if self.buffers.at_hand() == 0 && self.buffers.may_grow() {
            let frame = self.give_loose(Pid::NONE, FrameKind::Buffer).ok()?;
            self.buffers.add(frame);
        }
        let buffer = self.buffers.take();
        self.info_mut().buffers_used = self.buffers.used();
        buffer
    }

    /// Puts a buffer back, and the frame that is empty by that.
    pub(crate) fn put_buffer(&mut self, buffer: u8) {
        if let Some(frame) = self.buffers.put(buffer) {
            self.take_back(Pid::NONE, frame);
        }
        self.info_mut().buffers_used = self.buffers.used();
    }
}
