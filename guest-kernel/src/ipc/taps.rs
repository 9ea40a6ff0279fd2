//! Taps: what the kernel half of intrusion detection tells the Agents of messages and system calls.
//!
//! Each class of events has one Agent at a time. Its state page is mapped into the daemon and written from
//! here, so that a tap costs neither a message nor a switch: an Agent that had to be asked about every call
//! would be slower than the calls. The price is that the kernel half takes the page for what it was when it
//! was given: the ring's positions and the sampling rate are read from it at every event. Whatever else
//! writes into the page is believed as well.

use abi::agents::{AgentPage, Class, TAP_REFUSED, TAP_SLOTS, Tap};
use abi::syscall::{Call, Error};
use abi::{Frame, Pid};
use zerocopy::{FromBytes, IntoBytes};

use super::Ipc;
use crate::base::hardware::Hardware;

/// What the Agent's page says of a call.
struct Attempt {
    class: Class,
    refused: bool,
}

/// Returns whether a call is inspected, and whether its refusal says something about the caller. A timeout, a
/// lack of memory or a senseless argument is no attempt on another process.
fn attempt(call: Call, error: Option<Error>) -> Option<Attempt> {
    let (class, telling) = match call {
        Call::Call | Call::Post => (Class::Ports, Error::NotFound),
        Call::Bind => (Class::Ports, Error::Denied),
        Call::Reply => (Class::Messages, Error::Dead),
        Call::Kill | Call::Signal | Call::Examine | Call::Tag => (Class::Memory, Error::Denied),
        _ => return None,
    };
    Some(Attempt { class, refused: error == Some(telling) })
}

impl<H: Hardware> Ipc<H> {
    /// Whether an Agent is attached: the one question on the path of every system call.
    #[inline(always)]
    pub(crate) fn is_tapped(&self) -> bool {
        self.posts.any()
    }

    /// Whether a class has an Agent, or the process is one already.
    pub(crate) fn has_agent(&self, class: Class, pid: Pid) -> bool {
        self.posts.page(class).is_some() || self.posts.has(pid)
    }

    /// Makes a process the Agent of a class, with the state page in `frame`.
    pub(crate) fn attach_agent(&mut self, class: Class, pid: Pid, frame: Frame) {
        self.posts.attach(class, pid, frame);
    }

    /// Taps a system call that has been carried out or refused. Only called while an Agent is attached.
    #[inline(never)]
    pub(crate) fn tap_call(&mut self, pid: Pid, number: u64, subject: u64, error: Option<Error>) {
        let Some(call) = Call::from_raw(number) else { return };
        if let Some(Attempt { class, mut refused }) = attempt(call, error) {
            // An attempt to kill a kernel process counts even if root makes it.
            refused |= call == Call::Kill && self.is_in_ring_0(subject);
            let call = call as u32 | if refused { TAP_REFUSED } else { 0 };
            self.tap(class, Tap { pid, call, subject });
        }
    }

    fn is_in_ring_0(&mut self, pid: u64) -> bool {
        let slot = self.find_named(pid);
        slot.is_some_and(|slot| self.process(slot).d.ring == 0)
    }

    /// Taps a message that was delivered.
    pub(crate) fn tap_delivery(&mut self, from: Pid, to: Pid) {
        let subject = u64::from(to.0);
        self.tap(Class::Messages, Tap { pid: from, call: Call::Call as u32, subject });
    }

    fn tap(&mut self, class: Class, tap: Tap) {
        let Some(frame) = self.posts.page(class) else { return };
        let page = self.agent_page(frame);
        page.skipped = page.skipped.wrapping_add(1);
        if page.skipped < page.every {
            return;
        }
        page.skipped = 0;
        if page.head.wrapping_sub(page.tail) >= TAP_SLOTS as u64 {
            page.lost = page.lost.wrapping_add(1);
            return;
        }
        page.taps[page.head as usize % TAP_SLOTS] = tap;
        page.head = page.head.wrapping_add(1);
        self.counters().taps += 1;
    }

    pub(crate) fn agent_page(&mut self, frame: Frame) -> &mut AgentPage {
        match AgentPage::mut_from_prefix(self.hw().page(frame).as_mut_bytes()) {
            Ok((page, _)) => page,
            // A frame is aligned and at least as large as a state page.
            Err(_) => unreachable!(),
        }
    }

    /// Frees the posts of a process that ends.
    pub(crate) fn detach(&mut self, pid: Pid) {
        self.posts.detach(pid);
    }
}
