//! Intrusion detection, the kernel half: taps messages and system calls for the daemons that judge them. (In the story:
//! the Agents.)
//!
//! ```text
//! system call, delivery -> tap -> state page -> daemon half (`agency`) -> Tag -> the violator ends
//! ```
//!
//! Each class of events has one Agent at a time. Its state page is mapped into the daemon and written from here, so that
//! a tap costs neither a message nor a switch: an Agent that had to be asked about every call would be slower than the
//! calls. The price is that the kernel half takes the page for what it was when it was given: the ring's positions and
//! the sampling rate are read from it at every event, and a service keeps its page through a restart, so that what was
//! known of the violators is not lost. Whatever else writes into the page is believed as well.

use abi::agents::{AGENT_MAGIC, AgentPage, Class, Heuristic, TAP_REFUSED, TAP_SLOTS, Tap};
use abi::frame::FrameKind;
use abi::layout::USER_STATE;
use abi::process::State;
use abi::syscall::{Call, Error, Keys};
use abi::trace::Kind;
use abi::{Frame, GuestVirt, Pid};
use zerocopy::{FromBytes, IntoBytes};

use crate::gateway::{TRANSFER_BYTES, UserPtr};
use crate::hardware::Hardware;
use crate::kernel::Kernel;
use crate::process::TAGGED;
use crate::space::DATA;

/// Of how many events one is tapped with the `ids` fix: what it costs falls to an eighth, and a violator lives eight
/// times as long.
const SAMPLED: u64 = 8;

/// Who is attached.
#[derive(Clone, Copy, Default)]
pub(crate) struct Agents {
    posts: [Post; Class::ALL.len()],
    /// Whether there is anybody: the one question on the path of every system call.
    pub(crate) attached: bool,
}

/// The Agent of a class: nobody while `pid` is [`Pid::NONE`].
#[derive(Clone, Copy, Default)]
struct Post {
    pid: Pid,
    frame: u32,
}

/// What the Agent's page says of a call.
struct Attempt {
    class: Class,
    refused: bool,
}

/// Which calls are looked at, and whose refusal says something about the caller. To run into a time-out, a lack of
/// memory or an argument of one's own that makes no sense is no attempt on anybody.
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

impl<H: Hardware> Kernel<H> {
    /// A system call has been carried out or refused. Only called while somebody is attached.
    #[inline(never)]
    pub(crate) fn tap_call(&mut self, pid: Pid, number: u64, subject: u64, error: Option<Error>) {
        let Some(call) = Call::from_raw(number) else { return };
        if let Some(Attempt { class, refused }) = attempt(call, error) {
            let call = call as u32 | if refused { TAP_REFUSED } else { 0 };
            self.tap(class, Tap { pid, call, subject });
        }
    }

    /// A message was delivered.
    pub(crate) fn tap_delivery(&mut self, from: Pid, to: Pid) {
        let subject = u64::from(to.0);
        self.tap(Class::Messages, Tap { pid: from, call: Call::Call as u32, subject });
    }

    fn tap(&mut self, class: Class, tap: Tap) {
        let Post { pid, frame } = self.agents.posts[class as usize];
        if pid == Pid::NONE {
            return;
        }
        let page = self.agent_page(Frame(u64::from(frame)));
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
        self.info.counters.taps += 1;
    }

    fn agent_page(&mut self, frame: Frame) -> &mut AgentPage {
        match AgentPage::mut_from_prefix(self.hw.page(frame).as_mut_bytes()) {
            Ok((page, _)) => page,
            // A frame is aligned and at least as large as a state page.
            Err(_) => unreachable!(),
        }
    }

    /// Gives an Agent its state page: its service's, if that has one from before, else a new one.
    #[inline(never)]
    pub(crate) fn attach(&mut self, slot: usize, class: u64) -> Result<u64, Error> {
        let process = self.process(slot);
        let pid = process.d.pid;
        if process.d.keys & Keys::AGENT == 0 {
            return Err(Error::Denied);
        }
        let class = Class::from_raw(class).ok_or(Error::Invalid)?;
        let posts = &self.agents.posts;
        if posts[class as usize].pid != Pid::NONE || posts.iter().any(|post| post.pid == pid) {
            return Err(Error::Invalid);
        }
        let frame = self.state_page(slot)?;
        self.map(slot, GuestVirt(USER_STATE), frame, DATA).map_err(|_| Error::Exhausted)?;
        self.agents.posts[class as usize] = Post { pid, frame: frame.0 as u32 };
        self.agents.attached = true;
        self.emit(Kind::Attached, pid, class as u32, frame.0, 0);
        Ok(USER_STATE)
    }

    /// The page of a service outlives its process; that of any other process goes with it.
    fn state_page(&mut self, slot: usize) -> Result<Frame, Error> {
        let pid = self.process(slot).d.pid;
        let place = self.service_of(slot);
        let kept = place.map_or(0, |place| self.services[place].warm);
        if kept != 0 {
            let frame = Frame(u64::from(kept));
            self.pager.own(frame, pid);
            return Ok(frame);
        }
        let frame = match place {
            Some(place) => {
                let frame = self.give_loose(pid, FrameKind::Shared).map_err(|_| Error::Exhausted)?;
                self.services[place].warm = frame.0 as u32;
                frame
            }
            None => self.give(slot, FrameKind::Shared).map_err(|_| Error::Exhausted)?,
        };
        let every = if self.params.fix_ids { SAMPLED } else { 1 };
        let page = self.agent_page(frame);
        page.magic = AGENT_MAGIC;
        page.every = every;
        Ok(frame)
    }

    /// A process ends: if it was an Agent, nobody looks at its class any more.
    pub(crate) fn detach(&mut self, pid: Pid) {
        for post in &mut self.agents.posts {
            if post.pid == pid {
                *post = Post::default();
            }
        }
        self.agents.attached = self.agents.posts.iter().any(|post| post.pid != Pid::NONE);
    }

    /// Tags a violator and ends it.
    #[inline(never)]
    pub(crate) fn tag(&mut self, slot: usize, pid: u64, heuristic: u64, score: u64) -> Result<(), Error> {
        let process = self.process(slot);
        let by = process.d.pid;
        if process.d.keys & Keys::AGENT == 0 {
            return Err(Error::Denied);
        }
        let heuristic = Heuristic::from_raw(heuristic).ok_or(Error::Invalid)?;
        let victim = self.other(slot, pid)?;
        let pid = self.process(victim).d.pid;
        self.info.counters.tagged += 1;
        self.emit(Kind::Tagged, pid, heuristic as u32, u64::from(by.0), score);
        self.emit(Kind::Kill, pid, 0, u64::from(by.0), 0);
        self.end(victim, TAGGED);
        Ok(())
    }

    /// Reads another process's memory into the caller's.
    #[inline(never)]
    pub(crate) fn examine(
        &mut self,
        slot: usize,
        pid: u64,
        at: u64,
        buffer: u64,
        bytes: u64,
    ) -> Result<(), Error> {
        if self.process(slot).d.uid != 0 {
            return Err(Error::Denied);
        }
        let (from, to) = (UserPtr::new(at, bytes)?, UserPtr::new(buffer, bytes)?);
        let subject = self.other(slot, pid)?;
        let mut words = [0; (TRANSFER_BYTES / 8) as usize];
        self.copy_in(subject, from, &mut words)?;
        self.copy_out(slot, to, &words)?;
        self.info.counters.examined += 1;
        let (subject, by) = (self.process(subject).d.pid, self.process(slot).d.pid);
        self.emit(Kind::Examined, subject, bytes as u32, u64::from(by.0), at);
        Ok(())
    }

    /// The slot of a living user process that is not the caller.
    fn other(&mut self, slot: usize, pid: u64) -> Result<usize, Error> {
        let other = u32::try_from(pid).ok().and_then(|pid| self.find(Pid(pid))).ok_or(Error::Dead)?;
        let process = self.process(other);
        if process.d.state == State::Zombie as u8 {
            return Err(Error::Dead);
        }
        if process.d.ring == 0 {
            return Err(Error::Denied);
        }
        if other == slot { Err(Error::Invalid) } else { Ok(other) }
    }
}
