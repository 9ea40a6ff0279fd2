//! Signals: a process is made to run its handler, then continues where it was.
//!
//! A process that wants signals names a handler, a *return stack*, and the address that the handler returns
//! to: code that makes [`abi::syscall::Call::Return`]. The kernel writes that address to the top of the
//! return stack, once. Delivery saves the process's registers in its descriptor and continues in the handler,
//! on the return stack; `Return` restores them. One signal is handled at a time and one more may wait; the
//! sender of a third is refused, so that none is lost.
//!
//! A signal ends whatever its receiver waits for, with [`Error::Interrupted`].

use abi::layout::{USER_END, USER_TEXT};
use abi::process::State;
use abi::syscall::{Error, SIGNAL_END};
use abi::trace::Kind;

use super::{KILLED, Processes};
use crate::base::arguments::{HandleArguments, SignalArguments};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::base::process::Transfer;
use crate::mem::copy::UserPtr;

/// The flags that are a program's own (Intel SDM vol. 1, 3.4.3): carry, parity, adjust, zero, sign,
/// direction, overflow; and the interrupt flag, which ring 3 can neither set nor clear.
pub(super) const USER_FLAGS: u64 = 0xed5;

/// Numbers from 1 to below this one are signals.
const SIGNALS: u64 = 64;

impl<H: Hardware> Processes<H> {
    /// Installs or removes a signal handler.
    #[inline(never)]
    pub(crate) fn handle(&mut self, slot: Slot, arguments: HandleArguments) -> Result<(), Error> {
        let HandleArguments { handler, top, back } = arguments;
        if self.process(slot).d.ring != 3 {
            return Err(Error::Denied);
        }
        if handler == 0 {
            let signals = &mut self.process(slot).signals;
            (signals.handler, signals.top, signals.pending) = (0, 0, 0);
            return Ok(());
        }
        let code = USER_TEXT..USER_END;
        if !code.contains(&handler) || !code.contains(&back) || !top.is_multiple_of(16) {
            return Err(Error::Invalid);
        }
        self.copy_out(slot, UserPtr::new(top.saturating_sub(8), 8)?, &[back])?;
        let signals = &mut self.process(slot).signals;
        (signals.handler, signals.top) = (handler, top);
        Ok(())
    }

    /// Sends a signal.
    #[inline(never)]
    pub(crate) fn signal(&mut self, slot: Slot, arguments: SignalArguments) -> Result<(), Error> {
        let SignalArguments { pid, number } = arguments;
        let sender = self.process(slot);
        let (by, uid) = (sender.d.pid, sender.d.uid);
        if !(1..SIGNALS).contains(&number) {
            return Err(Error::Invalid);
        }
        let to = self.find_named(pid).ok_or(Error::Dead)?;
        let process = self.process(to);
        let pid = process.d.pid;
        if process.d.state == State::Zombie as u8 {
            return Err(Error::Dead);
        }
        let allowed = uid == 0 || uid == process.d.uid || process.d.parent == by;
        if process.d.ring != 3 || !allowed {
            return Err(Error::Denied);
        }
        let handled = process.signals.handler != 0;
        if handled && process.signals.pending != 0 {
            return Err(Error::Exhausted);
        }
        let context = &mut self.process(slot).d.context;
        (context.rax, context.rdi) = (0, 0);
        self.emit(Kind::Signal, pid, number as u32, u64::from(by.0), 0);
        if handled {
            self.process(to).signals.pending = number as u32;
            self.deliver_pending(to);
        } else if number == SIGNAL_END {
            self.end(to, KILLED);
        }
        Ok(())
    }

    /// Makes the process continue in its handler, if a signal waits and it is neither in its handler nor on
    /// the phone.
    pub(crate) fn deliver_pending(&mut self, slot: Slot) {
        let process = self.process(slot);
        if process.signals.pending == 0 || process.signals.handling != 0 || process.phone.active != 0 {
            return;
        }
        self.interrupt(slot);
        let process = self.process(slot);
        let signals = &mut process.signals;
        let number = core::mem::take(&mut signals.pending);
        signals.handling = 1;
        signals.saved = process.d.context;
        signals.saved_transfer = core::mem::replace(&mut process.transfer, Transfer::NONE);
        let context = &mut process.d.context;
        context.rip = signals.handler;
        context.rsp = signals.top - 8;
        context.rdi = u64::from(number);
        // A function starts with the direction flag clear.
        context.rflags &= !0x400;
        self.counters().signals += 1;
    }

    /// Ends the handler.
    #[inline(never)]
    pub(crate) fn return_from_signal(&mut self, slot: Slot) -> Result<(), Error> {
        let process = self.process(slot);
        if process.signals.handling == 0 {
            return Err(Error::Invalid);
        }
        process.signals.handling = 0;
        process.d.context = process.signals.saved;
        process.transfer = process.signals.saved_transfer;
        self.deliver_pending(slot);
        Ok(())
    }

    /// Ends whatever the process waits for.
    pub(crate) fn interrupt(&mut self, slot: Slot) {
        let process = self.process(slot);
        match State::from_raw(process.d.state) {
            Some(State::Sending) => self.leave_port(slot),
            Some(State::Gated) => self.leave_gateway(slot),
            Some(State::AwaitingReply) => {
                let loan = core::mem::take(&mut process.loan);
                self.end_loan(loan);
            }
            Some(State::Sleeping | State::Receiving | State::Waiting | State::Collecting) => {}
            _ => return,
        }
        self.wake(slot, Error::Interrupted as u64, [0; 2]);
    }
}
