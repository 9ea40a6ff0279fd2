//! Intrusion detection, the kernel half: taps messages and system calls for the daemons that judge them. (In the story:
//! the Agents.)
//!
//! ```text
//! system call, delivery -> tap -> state page -> daemon half (`agency`) -> Tag -> the violator comes to the remedy
//! ```
//!
//! Each class of events has one Agent at a time. Its state page is mapped into the daemon and written from here, so that
//! a tap costs neither a message nor a switch: an Agent that had to be asked about every call would be slower than the
//! calls. The price is that the kernel half takes the page for what it was when it was given: the ring's positions and
//! the sampling rate are read from it at every event, and a service keeps its page through a restart, so that what was
//! known of the violators is not lost. Whatever else writes into the page is believed as well.

use abi::agents::{AGENT_MAGIC, AgentPage, Class, Heuristic, TAP_REFUSED, TAP_SLOTS, Tap};
use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_STATE, USER_TEXT};
use abi::module::Program;
use abi::process::{Descriptor, State};
use abi::syscall::{Call, Error, Keys};
use abi::trace::Kind;
use abi::{Frame, GuestVirt, Pid};
use zerocopy::{FromBytes, IntoBytes};

use crate::gateway::{TRANSFER_BYTES, UserPtr};
use crate::hardware::Hardware;
use crate::kernel::Kernel;
use crate::module::Module;
use crate::process::TAGGED;
use crate::space::{DATA, NoMemory, RODATA, TEXT};

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

/// Pages of a program's image: text and read-only data.
const fn image_pages(program: &Program) -> u32 {
    program.text_pages + program.rodata_pages
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
        if let Some(Attempt { class, mut refused }) = attempt(call, error) {
            // Nobody has any business with the life of the kernel's processes, root or not.
            refused |= call == Call::Kill && self.is_in_ring_0(subject);
            let call = call as u32 | if refused { TAP_REFUSED } else { 0 };
            self.tap(class, Tap { pid, call, subject });
        }
    }

    fn is_in_ring_0(&mut self, pid: u64) -> bool {
        let slot = u32::try_from(pid).ok().and_then(|pid| self.find(Pid(pid)));
        slot.is_some_and(|slot| self.process(slot).d.ring == 0)
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

    /// Gives an Agent its state page: its service's, if that has one from before, else a new one. `remedy` is the page of
    /// its image that those whom it tags are sent to; it is kept in the descriptor, since the state page is not the
    /// kernel's alone.
    #[inline(never)]
    pub(crate) fn attach(&mut self, slot: usize, class: u64, remedy: u64) -> Result<u64, Error> {
        let process = self.process(slot);
        let (pid, program) = (process.d.pid, process.d.program);
        if process.d.keys & Keys::AGENT == 0 {
            return Err(Error::Denied);
        }
        let class = Class::from_raw(class).ok_or(Error::Invalid)?;
        let image = self.module.program(program as usize).map_or(0, image_pages);
        let remedy =
            u8::try_from(remedy).ok().filter(|page| u32::from(*page) < image).ok_or(Error::Invalid)?;
        let posts = &self.agents.posts;
        if posts[class as usize].pid != Pid::NONE || posts.iter().any(|post| post.pid == pid) {
            return Err(Error::Invalid);
        }
        let frame = self.state_page(slot)?;
        self.map(slot, GuestVirt(USER_STATE), frame, DATA).map_err(|_| Error::Exhausted)?;
        self.agents.posts[class as usize] = Post { pid, frame: frame.0 as u32 };
        self.agents.attached = true;
        self.process(slot).d.remedy = remedy;
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

    /// Tags a violator, which comes to its end at the Agent's remedy: see [`Self::remedy`]. One that runs in ring 0 is the
    /// scheduler's to end.
    #[inline(never)]
    pub(crate) fn tag(&mut self, slot: usize, pid: u64, heuristic: u64, score: u64) -> Result<(), Error> {
        let process = self.process(slot);
        let by = process.d.pid;
        if process.d.keys & Keys::AGENT == 0 {
            return Err(Error::Denied);
        }
        let heuristic = Heuristic::from_raw(heuristic).ok_or(Error::Invalid)?;
        let victim = self.other(slot, pid)?;
        let process = self.process(victim);
        let pid = process.d.pid;
        if process.d.tagged != 0 && process.d.ring != 0 {
            // It is on its way.
            return Err(Error::Dead);
        }
        process.d.tagged = 1;
        self.info.counters.tagged += 1;
        self.emit(Kind::Tagged, pid, heuristic as u32, u64::from(by.0), score);
        if self.process(victim).d.ring == 0 {
            self.doom(victim, by);
        } else if self.remedy(slot, victim).is_err() {
            self.emit(Kind::Kill, pid, 0, u64::from(by.0), 0);
            self.end(victim, TAGGED);
        }
        Ok(())
    }

    /// Makes a violator harmless from inside: the Agent's image, from its remedy on, takes the place of the violator's
    /// program, whatever it waits for is ended, and it goes on at the remedy's beginning, in its own memory and with its
    /// own registers. What is to be done with a violator is so the daemon's to say, in code of its own, and the kernel
    /// needs none for it.
    fn remedy(&mut self, agent: usize, violator: usize) -> Result<(), NoMemory> {
        let Descriptor { program, remedy, .. } = self.process(agent).d;
        let image = |module: &Module, program: u32| module.program(program as usize).copied().ok_or(NoMemory);
        let from = image(&self.module, program)?;
        let program = self.process(violator).d.program;
        let before = image(&self.module, program)?;
        self.interrupt(violator);
        let pages = image_pages(&from).saturating_sub(remedy.into());
        for page in 0..pages {
            let nth = u32::from(remedy) + page;
            // The remedy itself may be data to the Agent.
            let flags = if page == 0 || nth < from.text_pages { TEXT } else { RODATA };
            let at = GuestVirt(USER_TEXT + u64::from(page) * PAGE_SIZE);
            self.map(violator, at, self.module.frame(from.text_page + nth), flags)?;
        }
        for page in pages..image_pages(&before) {
            self.unmap(violator, GuestVirt(USER_TEXT + u64::from(page) * PAGE_SIZE));
        }
        self.process(violator).d.context.rip = USER_TEXT;
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

    /// The slot of a living process that runs a program and is not the caller.
    fn other(&mut self, slot: usize, pid: u64) -> Result<usize, Error> {
        let other = u32::try_from(pid).ok().and_then(|pid| self.find(Pid(pid))).ok_or(Error::Dead)?;
        let process = self.process(other);
        if process.d.state == State::Zombie as u8 {
            return Err(Error::Dead);
        }
        if !process.runs_a_program() {
            return Err(Error::Denied);
        }
        if other == slot { Err(Error::Invalid) } else { Ok(other) }
    }
}
