//! Phones: system calls that run a piece of the caller's code in kernel context. (In the story: the phones.)
//!
//! ```text
//! ring 3 --Phone--> the caller's function, in ring 0, on a kernel stack of the caller's own --returns--> HangUp --> ring 3
//! ```
//!
//! A caller needs [`Keys::PHONE`] and a return stack (see `signals`). A fault in the function ends the caller
//! like any other fault, and demand paging does not apply: the function may touch only what was touched
//! before. It makes no system calls.
//!
//! The design's defect: during the call the caller's registers are kept at the top of the caller's own return
//! stack, over the address that its signal handler returns to. There was a good reason: a call costs the
//! kernel no memory beyond the one stack of the first call, and the return stack is idle memory that is made
//! for saved registers and known to be there. After a phone call, the caller's next signal handler returns to
//! what is left of the call, and faults.

use abi::frame::FrameKind;
use abi::layout::{DIRECT_MAP, KERNEL_CS, KERNEL_SS, PAGE_SIZE, USER_CS, USER_END, USER_SS, USER_TEXT};
use abi::process::Context;
use abi::syscall::{Error, Keys};
use abi::trace::Kind;
use zerocopy::transmute;

use super::Processes;
use crate::base::arguments::{HangUpArguments, PhoneArguments};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::mem::copy::UserPtr;

/// Words in a [`Context`].
const WORDS: usize = size_of::<Context>() / 8;
/// General protection: the exception that a misuse of ring 0 counts as.
const MISUSE: u32 = 13;

impl<H: Hardware> Processes<H> {
    /// Whether the one that runs has an address space of its own.
    pub fn runs_a_program(&mut self) -> bool {
        let slot = self.current();
        self.process(slot).runs_a_program()
    }

    /// Whether the one that runs is on the phone.
    #[cfg(test)]
    pub(crate) fn is_on_phone(&mut self) -> bool {
        let slot = self.current();
        self.process(slot).phone.active != 0
    }

    /// Picks up: runs the caller's function in ring 0.
    #[inline(never)]
    pub(crate) fn phone(&mut self, slot: Slot, arguments: PhoneArguments) -> Result<(), Error> {
        let PhoneArguments { function, argument } = arguments;
        let process = self.process(slot);
        if process.d.keys & Keys::PHONE == 0 || process.d.ring != 3 {
            return Err(Error::Denied);
        }
        let (top, program, stack) = (process.signals.idle_top(), process.d.program, process.phone.stack);
        let text = self.module().program(program as usize).map_or(0, |p| u64::from(p.text_pages) * PAGE_SIZE);
        if top == 0 || !(USER_TEXT..USER_TEXT + text).contains(&function) {
            return Err(Error::Invalid);
        }
        let stack = match stack {
            0 => self.give(slot, FrameKind::KernelStack).map_err(|_| Error::Exhausted)?,
            frame => abi::Frame(u64::from(frame)),
        };
        self.process(slot).phone.stack = stack.0 as u32;
        let words: [u64; WORDS] = transmute!(self.process(slot).d.context);
        self.copy_out(slot, Self::kept(top)?, &words)?;

        let top = (PAGE_SIZE / 8) as usize;
        self.hw().page(stack).0[top - 1] = self.phone_end;
        let process = self.process(slot);
        let pid = process.d.pid;
        process.phone.active = 1;
        process.phone.function = function as u32;
        process.d.context = Context {
            rip: function,
            cs: u64::from(KERNEL_CS),
            rflags: 2,
            rsp: DIRECT_MAP + stack.base().0 + PAGE_SIZE - 8,
            ss: u64::from(KERNEL_SS),
            rdi: argument,
            ..Context::default()
        };
        self.counters().phones += 1;
        self.emit(Kind::Phone, pid, 1, function, 0);
        Ok(())
    }

    /// Hangs up: back to ring 3, with the registers that lie on the return stack.
    #[inline(never)]
    pub(crate) fn hang_up(&mut self, slot: Slot, arguments: HangUpArguments) -> Result<(), Error> {
        let HangUpArguments { result } = arguments;
        let process = self.process(slot);
        if process.phone.active == 0 {
            return Err(Error::Invalid);
        }
        let (pid, top, function) = (process.d.pid, process.signals.top, process.phone.function);
        let mut words = [0; WORDS];
        let kept = Self::kept(top).and_then(|kept| self.copy_in(slot, kept, &mut words));
        let context: Context = transmute!(words);
        // The function may have written there. It ran in ring 0 by right, but must not return there.
        if kept.is_err() || context.rip >= USER_END {
            self.fault(slot, MISUSE, context.rip);
            return Ok(());
        }
        let rflags = self.user_rflags(context.rflags);
        let process = self.process(slot);
        process.phone.active = 0;
        process.d.context = Context {
            cs: u64::from(USER_CS),
            ss: u64::from(USER_SS),
            rflags,
            rax: 0,
            rdi: result,
            ..context
        };
        self.emit(Kind::Phone, pid, 0, u64::from(function), 0);
        self.deliver_pending(slot);
        Ok(())
    }

    /// Where the caller's registers lie during a call.
    fn kept(top: u64) -> Result<UserPtr, Error> {
        let bytes = size_of::<Context>() as u64;
        UserPtr::new(top.saturating_sub(bytes), bytes)
    }

    /// What the function may not do in ring 0: any system call but the one that its return makes. It ends, as
    /// by a fault.
    #[inline(never)]
    pub(crate) fn misused_phone(&mut self, slot: Slot) {
        let rip = self.process(slot).d.context.rip;
        self.fault(slot, MISUSE, rip);
    }
}
