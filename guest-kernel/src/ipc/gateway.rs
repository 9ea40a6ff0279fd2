//! The gateway: the queue of senders that found no room for their data. (In the story: the Trainman.)
//!
//! The queue is bounded, and outside readers can see it. When there may be room again, the *system call* is
//! made again from its beginning: between two attempts the kernel holds nothing for the sender, and no check
//! can have become outdated.
//!
//! ```text
//! Running --no room--> Gated --room--> Ready, to make its call again
//!                      Gated --timeout, a signal, the end--> as any other wait
//! ```
//!
//! Urgent senders are served first, and those of one priority in their order. The price is that a less urgent
//! sender waits as long as there are urgent ones. With the fix of priorities, age alone counts.

use abi::Pid;
use abi::flow::Gate;
use abi::process::State;
use abi::syscall::Error;
use abi::trace::Kind;

use super::mail::PORT_DATAGRAMS;
use super::ports::PORTS;
use super::{GATE_SLOTS, Ipc};
use crate::base::arguments::PostArguments;
use crate::base::hardware::Hardware;
use crate::base::index::{PortIndex, Slot};
use crate::base::process::Transfer;

/// Length of the SYSCALL instruction, by which a process is set back to make its call again.
const SYSCALL_BYTES: u64 = 2;

impl<H: Hardware> Ipc<H> {
    /// The running process asks for a transfer, or asks again: a transfer keeps its number, its age and the
    /// end of its patience (ticks; 0 without limit) until it is done. Returns whether this is another
    /// attempt.
    pub(crate) fn ask_for_transfer(&mut self, slot: Slot, patience: u64) -> bool {
        if self.process(slot).transfer.number != 0 {
            return true;
        }
        self.transfer_serial += 1;
        let (number, now) = (self.transfer_serial, self.now());
        let until = if patience == 0 { u64::MAX } else { now.saturating_add(patience) };
        self.process(slot).transfer = Transfer { number, since: now, until, tried: now };
        false
    }

    /// Whether a process may be set back to make its call again: kernel processes enter another way, and do
    /// not wait at the gateway.
    pub(crate) fn may_be_set_back(&mut self, slot: Slot) -> bool {
        let process = self.process(slot);
        process.runs_a_program() && process.phone.active == 0
    }

    /// Sets a process that runs a program back: its registers are as they were, and its next instruction is
    /// `SYSCALL`.
    pub(crate) fn set_back(&mut self, slot: Slot) {
        let context = &mut self.process(slot).d.context;
        context.rip = context.rip.wrapping_sub(SYSCALL_BYTES);
    }

    /// The running process, which may be set back, waits for room: for a place at the port `place`, or for a
    /// buffer; `peer` could make some. `again` says that it has waited before.
    pub(crate) fn wait_at_gateway(
        &mut self,
        slot: Slot,
        place: PortIndex,
        bytes: u64,
        peer: Pid,
        again: bool,
    ) -> Result<(), Error> {
        let now = self.now();
        let process = self.process(slot);
        let (pid, Transfer { number, since, until, .. }) = (process.d.pid, process.transfer);
        if until <= now {
            let owner = self.ports[place].owner;
            self.gave_up(pid, place, owner);
            return Err(Error::TimedOut);
        }
        let gate = Gate { pid, bytes: bytes as u32, since, sequence: number };
        let nth = self.admit(gate).ok_or(Error::Exhausted)?;
        if !again {
            self.counters().gated += 1;
        }
        self.emit(Kind::Gated, pid, nth as u32 + 1, bytes, now.saturating_sub(since));
        if until != u64::MAX {
            self.timers().set(slot, until);
        }
        let process = self.wait_for(slot, State::Gated, peer);
        process.port = place;
        process.transfer.tried = now;
        // From outside its age is seen, not that of this attempt.
        process.d.since = since;
        self.set_current(Slot::NONE);
        Ok(())
    }

    /// Enters a process into the queue at the place that is due to it; `None` if the queue is full.
    fn admit(&mut self, gate: Gate) -> Option<usize> {
        let waiting = self.info().gate_waiting as usize;
        if waiting >= GATE_SLOTS {
            return None;
        }
        let rank = self.rank(gate);
        let mut place = waiting;
        while place > 0 && self.rank(self.gates[place - 1]) > rank {
            self.gates[place] = self.gates[place - 1];
            place -= 1;
        }
        self.gates[place] = gate;
        self.info_mut().gate_waiting += 1;
        Some(place)
    }

    /// The rank of an entry: the smallest is served first.
    fn rank(&mut self, gate: Gate) -> (u8, u64) {
        let priority =
            if self.params().fix_priorities { 0 } else { self.process(Slot::of(gate.pid)).d.effective };
        (priority, gate.sequence)
    }

    /// Takes one out of the queue.
    fn dismiss(&mut self, place: usize) {
        let pid = self.gates[place].pid;
        let waiting = self.info().gate_waiting as usize;
        for each in place + 1..waiting {
            self.gates[each - 1] = self.gates[each];
        }
        self.gates[waiting - 1] = Gate::default();
        self.info_mut().gate_waiting -= 1;
        // Its account of waiting has what went before this attempt already.
        let process = self.process(Slot::of(pid));
        process.d.since = process.transfer.tried;
    }

    /// A gated process stops waiting, whatever the reason; its transfer is forgotten.
    pub(crate) fn leave_gateway(&mut self, slot: Slot) {
        let pid = self.process(slot).d.pid;
        let waiting = &self.gates[..self.info().gate_waiting as usize];
        if let Some(place) = waiting.iter().position(|gate| gate.pid == pid) {
            self.dismiss(place);
        }
        self.process(slot).transfer = Transfer::NONE;
    }

    /// Retries as many waiters as now fit, and every waiter whose port was closed. One too many does no harm:
    /// it returns to its old place. One too few would wait for nothing.
    pub(crate) fn open_gates(&mut self) {
        if self.info().gate_waiting == 0 {
            return;
        }
        let mut room = self.buffers.at_hand();
        if self.buffers.may_grow() && self.pager().free_frames() + self.pager().quarantined() > 0 {
            room += 1;
        }
        let mut let_in = [0; PORTS];
        let mut nth = 0;
        while nth < self.info().gate_waiting as usize {
            let slot = Slot::of(self.gates[nth].pid);
            let process = self.process(slot);
            let place = process.port;
            let PostArguments { port: number, .. } = self.arguments(slot);
            let port = &self.ports[place];
            let gone = port.number != number;
            if !gone {
                if room == 0 || port.mail.count() + let_in[place.index()] >= PORT_DATAGRAMS {
                    nth += 1;
                    continue;
                }
                room -= 1;
                let_in[place.index()] += 1;
            }
            self.dismiss(nth);
            self.timers().cancel(slot);
            self.set_back(slot);
            self.make_ready(slot);
        }
    }
}
