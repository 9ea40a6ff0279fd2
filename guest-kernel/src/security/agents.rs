//! Intrusion detection, the kernel half: attaches the daemons that judge taps, and tags violators. (In the
//! story: the Agents.)
//!
//! ```text
//! system call, delivery -> tap -> state page -> daemon half (`guest-user`) -> Tag -> the violator continues at the remedy
//! ```
//!
//! A service keeps its state page through a restart, so that what was known of violators is not lost. How the
//! page is filled is in [`crate::ipc`].

use abi::agents::{AGENT_MAGIC, Class, Heuristic};
use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_STATE, USER_TEXT};
use abi::module::Program;
use abi::process::{Descriptor, State};
use abi::syscall::{Error, Keys};
use abi::trace::Kind;
use abi::{Frame, GuestVirt};

use super::Security;
use crate::base::arguments::{AttachArguments, ExamineArguments, TagArguments};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::base::module::Module;
use crate::mem::copy::{TRANSFER_BYTES, UserPtr};
use crate::mem::space::{DATA, NoMemory, RODATA, TEXT};
use crate::proc::TAGGED;

/// Of how many events one is tapped with the `ids` fix: what it costs falls to an eighth, and a violator
/// lives eight times as long.
const SAMPLED: u64 = 8;

/// Pages of a program's image: text and read-only data.
const fn image_pages(program: &Program) -> u32 {
    program.text_pages + program.rodata_pages
}

impl<H: Hardware> Security<H> {
    /// Gives an Agent its state page: its service's if that has kept one, else a new one. Tagged processes
    /// continue at page `remedy` of the Agent's image; the number is kept in the descriptor, since others can
    /// write the state page.
    #[inline(never)]
    pub(crate) fn attach(&mut self, slot: Slot, arguments: AttachArguments) -> Result<u64, Error> {
        let AttachArguments { class, remedy } = arguments;
        let process = self.process(slot);
        let (pid, program) = (process.d.pid, process.d.program);
        if process.d.keys & Keys::AGENT == 0 {
            return Err(Error::Denied);
        }
        let class = Class::from_raw(class).ok_or(Error::Invalid)?;
        let image = self.module().program(program as usize).map_or(0, image_pages);
        let remedy =
            u8::try_from(remedy).ok().filter(|page| u32::from(*page) < image).ok_or(Error::Invalid)?;
        if self.has_agent(class, pid) {
            return Err(Error::Invalid);
        }
        let frame = self.state_page(slot)?;
        self.map(slot, GuestVirt(USER_STATE), frame, DATA).map_err(|_| Error::Exhausted)?;
        self.attach_agent(class, pid, frame);
        self.process(slot).d.remedy = remedy;
        self.emit(Kind::Attached, pid, class as u32, frame.0, 0);
        Ok(USER_STATE)
    }

    /// Returns the state page. That of a service outlives its process; that of another process goes with it.
    fn state_page(&mut self, slot: Slot) -> Result<Frame, Error> {
        let pid = self.process(slot).d.pid;
        let place = self.service_of(slot);
        if let Some(frame) = place.and_then(|place| self.warm_page(place)) {
            self.change_owner(frame, pid);
            return Ok(frame);
        }
        let frame = match place {
            Some(place) => {
                let frame = self.give_loose(pid, FrameKind::Shared).map_err(|_| Error::Exhausted)?;
                self.set_warm_page(place, frame);
                frame
            }
            None => self.give(slot, FrameKind::Shared).map_err(|_| Error::Exhausted)?,
        };
        let every = if self.params().fix_ids { SAMPLED } else { 1 };
        let page = self.agent_page(frame);
        page.magic = AGENT_MAGIC;
        page.every = every;
        Ok(frame)
    }

    /// Tags a violator, which continues at the Agent's remedy: see [`Self::remedy`]. The scheduler ends one
    /// that runs in ring 0.
    #[inline(never)]
    pub(crate) fn tag(&mut self, slot: Slot, arguments: TagArguments) -> Result<(), Error> {
        let TagArguments { pid, heuristic, score } = arguments;
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
            // Its kill has begun already.
            return Err(Error::Dead);
        }
        process.d.tagged = 1;
        self.counters().tagged += 1;
        self.emit(Kind::Tagged, pid, heuristic as u32, u64::from(by.0), score);
        if self.process(victim).d.ring == 0 {
            self.doom(victim, by);
        } else if self.remedy(slot, victim).is_err() {
            self.emit(Kind::Kill, pid, 0, u64::from(by.0), 0);
            self.end(victim, TAGGED);
        }
        Ok(())
    }

    /// Makes a violator harmless from inside: the Agent's image, from its remedy on, replaces the violator's
    /// program, its wait ends, and it continues at the beginning of the remedy, with its own memory and
    /// registers. So the daemon decides in code of its own what is done with a violator, and the kernel needs
    /// none for it.
    fn remedy(&mut self, agent: Slot, violator: Slot) -> Result<(), NoMemory> {
        let Descriptor { program, remedy, .. } = self.process(agent).d;
        let image = |module: &Module, program: u32| module.program(program as usize).copied().ok_or(NoMemory);
        let from = image(self.module(), program)?;
        let program = self.process(violator).d.program;
        let before = image(self.module(), program)?;
        self.interrupt(violator);
        let pages = image_pages(&from).saturating_sub(remedy.into());
        for page in 0..pages {
            let nth = u32::from(remedy) + page;
            // The remedy itself may be read-only data to the Agent.
            let flags = if page == 0 || nth < from.text_pages { TEXT } else { RODATA };
            let at = GuestVirt(USER_TEXT + u64::from(page) * PAGE_SIZE);
            let frame = self.module().frame(from.text_page + nth);
            self.map(violator, at, frame, flags)?;
        }
        for page in pages..image_pages(&before) {
            self.unmap(violator, GuestVirt(USER_TEXT + u64::from(page) * PAGE_SIZE));
        }
        self.process(violator).d.context.rip = USER_TEXT;
        Ok(())
    }

    /// Reads another process's memory into the caller's.
    #[inline(never)]
    pub(crate) fn examine(&mut self, slot: Slot, arguments: ExamineArguments) -> Result<(), Error> {
        let ExamineArguments { pid, at, buffer, bytes } = arguments;
        if self.process(slot).d.uid != 0 {
            return Err(Error::Denied);
        }
        let (from, to) = (UserPtr::new(at, bytes)?, UserPtr::new(buffer, bytes)?);
        let subject = self.other(slot, pid)?;
        let mut words = [0; (TRANSFER_BYTES / 8) as usize];
        self.copy_in(subject, from, &mut words)?;
        self.copy_out(slot, to, &words)?;
        self.counters().examined += 1;
        let (subject, by) = (self.process(subject).d.pid, self.process(slot).d.pid);
        self.emit(Kind::Examined, subject, bytes as u32, u64::from(by.0), at);
        Ok(())
    }

    /// The slot of a living process that runs a program and is not the caller.
    fn other(&mut self, slot: Slot, pid: u64) -> Result<Slot, Error> {
        let other = self.find_named(pid).ok_or(Error::Dead)?;
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
