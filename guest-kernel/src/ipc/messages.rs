//! Messages of two words with an optional loan.
//!
//! A call waits for its reply. The message stays in the sender's saved registers until a receiver takes it,
//! so there is no buffer to run out of. Send and reply hand the CPU straight to the peer.

use abi::Pid;
use abi::process::State;
use abi::syscall::{Error, FIRST_OPEN_PORT};
use abi::trace::Kind;

use super::Ipc;
use super::flows;
use super::ports::CLOSED;
use crate::base::arguments::{BindArguments, CallArguments, ReceiveArguments, ReplyArguments};
use crate::base::hardware::Hardware;
use crate::base::index::{LoanIndex, PortIndex, Slot};
use crate::mem::loans::Lent;

impl<H: Hardware> Ipc<H> {
    /// Binds a port to the process.
    #[inline(never)]
    pub(crate) fn bind(
        &mut self,
        slot: Slot,
        BindArguments { port: number }: BindArguments,
    ) -> Result<(), Error> {
        let process = self.process(slot);
        let (pid, uid) = (process.d.pid, process.d.uid);
        if number == 0 {
            return Err(Error::Invalid);
        }
        if number < FIRST_OPEN_PORT && uid != 0 {
            return Err(Error::Denied);
        }
        if self.ports.find(number).is_some() {
            return Err(Error::Invalid);
        }
        self.ports.bind(number, pid).ok_or(Error::Exhausted)?;
        self.process(slot).serves = 1;
        Ok(())
    }

    /// Sends a message and waits for the reply.
    #[inline(never)]
    pub(crate) fn call(&mut self, slot: Slot, arguments: CallArguments) -> Result<(), Error> {
        let process = self.process(slot);
        let (pid, last) = (process.d.pid, process.port);
        let frames = self.lendable(slot, arguments.lent_at, arguments.lent_bytes)?;
        let place = self.ports.find_again(arguments.port, last).ok_or(Error::NotFound)?;
        let owner = self.ports[place].owner;
        if owner == pid {
            return Err(Error::Invalid);
        }
        self.process(slot).port = place;
        if arguments.timeout != 0 {
            let due = self.due_in(arguments.timeout);
            self.timers().set(slot, due);
        }
        let server = self.process(Slot::of(owner));
        if server.d.state == State::Receiving as u8 && server.port == place {
            match self.deliver(slot, &arguments, Slot::of(owner), frames) {
                Ok(()) => self.hand_off(Slot::of(owner)),
                Err(error) => {
                    self.timers().cancel(slot);
                    return Err(error);
                }
            }
        } else {
            self.wait_for(slot, State::Sending, owner);
            self.set_current(Slot::NONE);
            self.scheduler.links().push(&mut self.ports[place].senders, slot);
        }
        Ok(())
    }

    /// Waits for a message on a port, at most `timeout` ticks (0: without limit).
    #[inline(never)]
    pub(crate) fn receive(&mut self, slot: Slot, arguments: ReceiveArguments) -> Result<(), Error> {
        let ReceiveArguments { port: number, timeout } = arguments;
        let place = self.ports.find(number).ok_or(Error::NotFound)?;
        let pid = self.process(slot).d.pid;
        if self.ports[place].owner != pid {
            return Err(Error::Denied);
        }
        if !self.take_next(slot, place) {
            self.wait_at_port(slot, place, State::Receiving, timeout);
        }
        Ok(())
    }

    /// Makes the running process wait for what comes to its port, at most `timeout` ticks (0: without limit).
    #[inline(always)]
    pub(crate) fn wait_at_port(&mut self, slot: Slot, place: PortIndex, state: State, timeout: u64) {
        if timeout != 0 {
            let due = self.due_in(timeout);
            self.timers().set(slot, due);
        }
        self.change_state(slot, state).port = place;
        self.set_current(Slot::NONE);
    }

    /// Gives the next waiting message to `slot`. Senders whose loan has become impossible are refused on the
    /// way.
    #[inline(always)]
    fn take_next(&mut self, slot: Slot, place: PortIndex) -> bool {
        !self.ports[place].senders.is_empty() && self.take_from_queue(slot, place)
    }

    #[inline(never)]
    fn take_from_queue(&mut self, slot: Slot, place: PortIndex) -> bool {
        while let Some(sender) = self.scheduler.links().pop(&mut self.ports[place].senders) {
            let arguments: CallArguments = self.arguments(sender);
            let frames = self.lendable(sender, arguments.lent_at, arguments.lent_bytes);
            match frames.and_then(|frames| self.deliver(sender, &arguments, slot, frames)) {
                Ok(()) => return true,
                Err(error) => self.wake(sender, error as u64, [0; 2]),
            }
        }
        false
    }

    /// Moves a message from the sender, whose arguments these are, into the receiver's registers, and lends
    /// `frames` with it; the sender then awaits the reply.
    #[inline(always)]
    fn deliver(
        &mut self,
        sender: Slot,
        message: &CallArguments,
        receiver: Slot,
        frames: Lent,
    ) -> Result<(), Error> {
        let process = self.process(sender);
        let (pid, uid, place) = (process.d.pid, process.d.uid, process.port);
        let (mut loan, mut window, mut id) = (LoanIndex::NONE, 0, 0);
        if message.lent_bytes != 0 {
            loan = self.open_loan(sender, receiver, message.lent_at, message.lent_bytes, frames)?;
            let opened = self.loan(loan);
            (window, id) = (opened.window.0, opened.id);
        }
        self.timers().cancel(receiver);
        let server = self.process(receiver);
        let server_pid = server.d.pid;
        server.d.messages += 1;
        let context = &mut server.d.context;
        context.rax = 0;
        context.rdi = u64::from(pid.0);
        context.rsi = message.word0;
        context.rdx = message.word1;
        context.r10 = window;
        context.r8 = message.lent_bytes;
        context.r9 = u64::from(uid);
        let process = self.wait_for(sender, State::AwaitingReply, server_pid);
        process.loan = loan;
        process.d.messages += 1;
        self.counters().messages += 1;
        if self.is_tapped() {
            self.tap_delivery(pid, server_pid);
        }
        let number = self.ports[place].number;
        let now = self.now();
        flows::count(self.flows, (pid, server_pid), number, message.lent_bytes, now);
        self.emit(Kind::Send, pid, number as u32, u64::from(server_pid.0), u64::from(id));
        Ok(())
    }

    /// Answers a sender; with a port, waits for the next message there.
    #[inline(never)]
    pub(crate) fn reply(&mut self, slot: Slot, arguments: ReplyArguments) -> Result<(), Error> {
        let ReplyArguments { to, word0, word1, next_port: number, timeout } = arguments;
        let (to, words) = (Pid(to as u32), [word0, word1]);
        let me = self.process(slot);
        let (pid, last) = (me.d.pid, me.port);
        let next = match number {
            0 => None,
            _ => {
                let place = self.ports.find_again(number, last).ok_or(Error::NotFound)?;
                if self.ports[place].owner != pid {
                    return Err(Error::Denied);
                }
                Some(place)
            }
        };
        let waits = self
            .process_of(to)
            .filter(|process| process.d.state == State::AwaitingReply as u8 && process.d.peer == pid);
        let Some(process) = waits else {
            // The sender gave up or died. A server that continues must not fail for that.
            if let Some(place) = next {
                if !self.take_next(slot, place) {
                    self.wait_at_port(slot, place, State::Receiving, timeout);
                }
                return Ok(());
            }
            return Err(Error::Dead);
        };
        let sender = Slot::of(to);
        process.d.messages += 1;
        process.d.context.rax = 0;
        [process.d.context.rdi, process.d.context.rsi] = words;
        let loan = core::mem::take(&mut process.loan);
        self.timers().cancel(sender);
        self.counters().messages += 1;
        if loan.is_none() {
            self.emit(Kind::Reply, pid, 0, u64::from(to.0), 0);
        } else {
            let id = self.loan(loan).id;
            self.emit(Kind::Reply, pid, 0, u64::from(to.0), u64::from(id));
            self.end_loan(loan);
        }
        let process = self.process(slot);
        process.d.context.rax = 0;
        process.d.messages += 1;
        match next {
            Some(place) if !self.take_next(slot, place) => {
                self.wait_at_port(slot, place, State::Receiving, timeout);
            }
            _ => {
                self.set_current(Slot::NONE);
                self.make_ready(slot);
            }
        }
        self.hand_off(sender);
        Ok(())
    }

    /// Ends the wait of a process with a status and two words.
    pub(crate) fn wake(&mut self, slot: Slot, status: u64, words: [u64; 2]) {
        self.answer(slot, status, words);
        self.make_ready(slot);
    }

    fn answer(&mut self, slot: Slot, status: u64, words: [u64; 2]) {
        self.timers().cancel(slot);
        let context = &mut self.process(slot).d.context;
        context.rax = status;
        [context.rdi, context.rsi] = words;
    }

    /// The timer of a process has expired, whatever it waits for.
    pub(crate) fn expired(&mut self, slot: Slot) {
        let process = self.process(slot);
        let (pid, place, peer) = (process.d.pid, process.port, process.d.peer);
        let loan = core::mem::take(&mut process.loan);
        match State::from_raw(process.d.state) {
            Some(State::Sleeping) => self.wake(slot, 0, [0; 2]),
            Some(State::Sending) => {
                self.scheduler.links().remove(&mut self.ports[place].senders, slot);
                self.give_up(slot, pid, place, self.ports[place].owner);
            }
            Some(State::AwaitingReply) => {
                self.end_loan(loan);
                self.give_up(slot, pid, place, peer);
            }
            Some(State::Gated) => {
                self.leave_gateway(slot);
                self.give_up(slot, pid, place, self.ports[place].owner);
            }
            // Nothing came, which is no failure of a server.
            Some(State::Waiting | State::Receiving | State::Collecting) => {
                self.wake(slot, Error::TimedOut as u64, [0; 2]);
            }
            _ => {}
        }
    }

    fn give_up(&mut self, slot: Slot, pid: Pid, place: PortIndex, server: Pid) {
        self.gave_up(pid, place, server);
        self.wake(slot, Error::TimedOut as u64, [0; 2]);
    }

    /// A sender's patience with a port is at its end.
    pub(crate) fn gave_up(&mut self, pid: Pid, place: PortIndex, server: Pid) {
        self.counters().timeouts += 1;
        let number = self.ports[place].number;
        self.emit(Kind::Timeout, pid, number as u32, u64::from(server.0), 0);
    }

    /// A dying process leaves the queue of the port it waits at.
    pub(crate) fn leave_port(&mut self, slot: Slot) {
        let place = self.process(slot).port;
        self.scheduler.links().remove(&mut self.ports[place].senders, slot);
    }

    /// Closes the ports of a process that ends, and tells every process that waits for it.
    pub(crate) fn close_ports(&mut self, slot: Slot) {
        let pid = self.process(slot).d.pid;
        if self.process(slot).serves == 0 {
            return;
        }
        for place in self.ports.places() {
            if self.ports[place].owner == pid {
                while let Some(sender) = self.scheduler.links().pop(&mut self.ports[place].senders) {
                    self.wake(sender, Error::Dead as u64, [0; 2]);
                }
                self.drop_mail(place);
                self.ports[place] = CLOSED;
            }
        }
        for other in self.slots_used() {
            if !self.is_taken(other) {
                continue;
            }
            let process = self.process(other);
            if process.d.state == State::AwaitingReply as u8 && process.d.peer == pid {
                process.loan = LoanIndex::NONE;
                self.wake(other, Error::Dead as u64, [0; 2]);
            }
        }
    }
}
