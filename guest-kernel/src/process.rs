//! Processes: birth, death, reaping. A descriptor lives in a frame of its own; a pid carries the generation of its slot.
//!
//! ```text
//! Embryo -> Ready <-> Running -> Sleeping | Sending | Receiving | AwaitingReply | Waiting | Gated | Collecting -> Ready
//!                        any of these -> Zombie -> (its parent asks) -> gone
//! ```
//!
//! The kernel has two lists of processes, as kernels do: one that its own parts find a process by, given its slot; and the
//! process table, in which a pid is looked up, and which the host reads. They say the same, unless somebody writes into the
//! table who should not. Whom the table does not name is dead to all others, and runs.
//!
//! The one place where a state changes is `Kernel::change_state`.
//!
//! A new process has page tables and its program's text, which all instances share; data, stack and heap are only
//! reserved and come page by page, when they are first touched (see [`crate::faults`]).
//!
//! The fourth place of the design bug: a dead process's frames go back to the pager at once, into quarantine.

use abi::frame::FrameKind;
use abi::layout::{KERNEL_CS, KERNEL_SS, PAGE_SIZE, USER_CS, USER_SS, USER_STACK_TOP, USER_TEXT};
use abi::process::{Context, DESCRIPTOR_MAGIC, Descriptor, PROCESS_SLOTS, State};
use abi::syscall::{Error, FIRST_PERSON};
use abi::trace::Kind;
use abi::{Frame, GuestVirt, Pid};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::gateway::Transfer;
use crate::hardware::Hardware;
use crate::kernel::Kernel;
use crate::pager::Chain;
use crate::params::Clock;
use crate::phones::Phone;
use crate::queue::{Links, Queue};
use crate::scheduler::{HIGHEST, PRIORITIES, UNKNOWN_BURST};
use crate::signals::{Signals, USER_FLAGS};
use crate::space::{NoMemory, RODATA, TEXT};

/// The status of a process that was ended by others.
pub const KILLED: u64 = 256;
/// Of one that was tagged as a violator.
pub const TAGGED: u64 = 320;
/// Of one that the host had ended.
pub const ORDERED: u64 = 384;

/// Bit 1 of RFLAGS is always set. Interrupts stay off in the kernel and in kernel processes, whatever the clock.
const RFLAGS: u64 = 2;
/// RFLAGS.IF, for ring 3 where there is an interrupt to be had: the virtual clock has none.
const INTERRUPTS: u64 = 1 << 9;

/// A process as the kernel sees it: the part that the host reads, then the kernel's own.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Process {
    /// What the host may read.
    pub d: Descriptor,
    /// Levels by which it was lifted for its age, until it has had the CPU.
    pub lifted: u16,
    /// The queue of those who wait for the CPU that it is in, plus one; 0 if it is in none.
    pub queued: u16,
    /// The port it waits at: place in the port table.
    pub port: u32,
    /// The loan that its present call makes, see [`crate::loans::LoanRef`].
    pub loan: u32,
    /// First ended loan whose window it still has.
    pub pending: u32,
    /// Window slots in use.
    pub windows: u64,
    /// Frame of its page directory.
    pub directory: u32,
    frames_first: u32,
    frames_last: u32,
    /// Spare page for writes that come after their window is gone; 0 until needed.
    pub spare: u32,
    /// Pages of heap.
    pub heap: u32,
    /// 1 if it has ever bound a port.
    pub serves: u32,
    /// Children alive or dead, not yet asked for.
    pub children: u32,
    /// Dead children.
    zombies: Queue,
    /// What it ended with.
    pub status: u64,
    /// Kernel entries it had made when its present burst began.
    pub burst_from: u64,
    /// How many wait for it, by the priority that they lend it; kept where priorities are inherited.
    pub lent: [u8; PRIORITIES],
    /// Pages of data.
    pub data: u32,
    /// Its phone calls.
    pub phone: Phone,
    /// Its signals.
    pub signals: Signals,
    /// The transfer that it has asked for.
    pub transfer: Transfer,
}

/// Slots of the process table: which are free, and the generation of each.
pub struct Slots {
    free: Queue,
    fresh: usize,
    generations: [u16; PROCESS_SLOTS],
}

impl Slots {
    /// All free; slot 0 is never used.
    pub const fn new() -> Self {
        Self { free: Queue::EMPTY, fresh: 1, generations: [0; PROCESS_SLOTS] }
    }

    /// One past the highest slot ever used.
    pub const fn limit(&self) -> usize {
        self.fresh
    }

    /// Takes a free slot.
    pub fn take(&mut self, links: &mut Links) -> Option<Pid> {
        let slot = match links.pop(&mut self.free) {
            Some(slot) => slot,
            None if self.fresh < PROCESS_SLOTS => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return None,
        };
        Some(Pid::new(slot, self.generations[slot]))
    }

    /// Frees a slot; its old pid names nobody from here on.
    pub fn put(&mut self, links: &mut Links, slot: usize) {
        self.generations[slot] = self.generations[slot].wrapping_add(1);
        links.push(&mut self.free, slot);
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new()
    }
}

impl Process {
    pub(crate) fn root(&self) -> Frame {
        Frame(u64::from(self.d.root))
    }

    /// Whether it has an address space of its own: its faults are its own, whatever ring it is in.
    #[inline(always)]
    pub(crate) fn runs_a_program(&self) -> bool {
        self.directory != 0
    }

    pub(crate) fn frames(&self) -> Chain {
        Chain { first: self.frames_first, last: self.frames_last }
    }

    pub(crate) fn set_frames(&mut self, chain: Chain) {
        (self.frames_first, self.frames_last) = (chain.first, chain.last);
    }
}

#[cfg(test)]
impl Process {
    /// Its dead children that wait to be asked for.
    pub(crate) fn zombies(&self) -> Queue {
        self.zombies
    }
}

/// What a new user process is to be.
#[derive(Clone, Copy)]
pub struct Birth {
    /// Index in the boot module.
    pub program: usize,
    /// Who starts it.
    pub parent: Pid,
    /// User id.
    pub uid: u32,
    /// Priority.
    pub priority: u8,
    /// Handed over in RDI.
    pub argument: u64,
}

impl<H: Hardware> Kernel<H> {
    /// A process, if it lives.
    #[inline(always)]
    pub(crate) fn process_of(&mut self, pid: Pid) -> Option<&mut Process> {
        let frame = *self.processes.get(pid.slot())?;
        if frame == 0 {
            return None;
        }
        Some(Self::process_in(&mut self.hw, Frame(u64::from(frame)))).filter(|process| process.d.pid == pid)
    }

    /// The slot of a living process.
    pub(crate) fn find(&mut self, pid: Pid) -> Option<usize> {
        let slot = pid.slot();
        let frame = *self.processes.get(slot)?;
        (frame != 0 && self.process(slot).d.pid == pid).then_some(slot)
    }

    /// Starts a program of the boot module.
    pub fn spawn(&mut self, birth: Birth) -> Result<Pid, Error> {
        let program = *self.module.program(birth.program).ok_or(Error::NotFound)?;
        if birth.uid >= FIRST_PERSON && self.pager.is_scarce() {
            return Err(Error::Exhausted);
        }
        let slot = self
            .embryo(birth.parent, birth.uid, birth.priority.max(HIGHEST))
            .map_err(|_| Error::Exhausted)?;
        let process = self.process(slot);
        let pid = process.d.pid;
        process.d.program = birth.program as u32;
        process.d.name = program.name;
        process.d.ring = 3;
        process.data = program.data_pages;
        if self.build_image(slot, &program).is_err() {
            self.recycle(slot);
            return Err(Error::Exhausted);
        }
        self.spawn_serial += 1;
        let seed = mix(self.params.seed, self.spawn_serial);
        let rflags = self.user_rflags(0);
        let process = self.process(slot);
        process.d.context = Context {
            rip: program.entry,
            cs: u64::from(USER_CS),
            rflags,
            rsp: USER_STACK_TOP - 8,
            ss: u64::from(USER_SS),
            rdi: birth.argument,
            rsi: seed,
            rdx: u64::from(pid.0),
            ..Context::default()
        };
        self.born(slot, birth.parent);
        Ok(pid)
    }

    /// The flags that ring 3 gets, of those it wants: its own, and interrupts where there is a clock that has them.
    pub fn user_rflags(&self, wanted: u64) -> u64 {
        let interrupts = if self.params.clock == Clock::Apic { INTERRUPTS } else { 0 };
        (wanted & USER_FLAGS & !INTERRUPTS) | RFLAGS | interrupts
    }

    /// Starts a kernel process: ring 0, a stack of its own, the kernel's address space.
    pub fn spawn_kernel(&mut self, name: &[u8], entry: u64, priority: u8) -> Result<Pid, Error> {
        let slot = self.embryo(Pid::NONE, 0, priority).map_err(|_| Error::Exhausted)?;
        let stack = self.give(slot, FrameKind::KernelStack).map_err(|_| Error::Exhausted)?;
        let root = self.kernel_root.0 as u32;
        let process = self.process(slot);
        let pid = process.d.pid;
        process.d.program = u32::MAX;
        process.d.name[..name.len().min(16)].copy_from_slice(&name[..name.len().min(16)]);
        process.d.root = root;
        process.d.context = Context {
            rip: entry,
            cs: u64::from(KERNEL_CS),
            rflags: RFLAGS,
            rsp: abi::layout::DIRECT_MAP + stack.base().0 + PAGE_SIZE - 8,
            ss: u64::from(KERNEL_SS),
            rdi: u64::from(pid.0),
            ..Context::default()
        };
        self.born(slot, Pid::NONE);
        Ok(pid)
    }

    fn embryo(&mut self, parent: Pid, uid: u32, priority: u8) -> Result<usize, NoMemory> {
        let pid = self.slots.take(&mut self.links).ok_or(NoMemory)?;
        let frame = match self.give_loose(pid, FrameKind::Descriptor) {
            Ok(frame) => frame,
            Err(error) => {
                self.slots.put(&mut self.links, pid.slot());
                return Err(error);
            }
        };
        self.descriptors[pid.slot()] = frame.0 as u32;
        self.processes[pid.slot()] = frame.0 as u32;
        let now = self.info.tick;
        let process = self.process(pid.slot());
        process.d.magic = DESCRIPTOR_MAGIC;
        process.d.pid = pid;
        process.d.parent = parent;
        process.d.uid = uid;
        process.d.priority = priority;
        process.d.effective = priority;
        process.d.state = State::Embryo as u8;
        process.d.since = now;
        process.d.born = now;
        process.d.predicted = UNKNOWN_BURST;
        Ok(pid.slot())
    }

    fn build_image(&mut self, slot: usize, program: &abi::module::Program) -> Result<(), NoMemory> {
        self.build_space(slot)?;
        let pages = program.text_pages + program.rodata_pages;
        for page in 0..pages {
            let flags = if page < program.text_pages { TEXT } else { RODATA };
            let frame = self.module.frame(program.text_page + page);
            self.map(slot, GuestVirt(USER_TEXT + u64::from(page) * PAGE_SIZE), frame, flags)?;
        }
        Ok(())
    }

    fn born(&mut self, slot: usize, parent: Pid) {
        if let Some(parent) = self.find(parent) {
            self.process(parent).children += 1;
        }
        let process = self.process(slot);
        let (pid, uid, root) = (process.d.pid, process.d.uid, process.root());
        self.info.counters.spawns += 1;
        self.info.alive += 1;
        self.emit(Kind::Spawn, pid, uid, u64::from(parent.0), root.base().0);
        self.make_ready(slot);
    }

    /// Ends a process, whatever it is doing. Everything it holds goes back at once; its descriptor stays until its
    /// parent has asked for the status.
    pub(crate) fn end(&mut self, slot: usize, status: u64) {
        let process = self.process(slot);
        let (pid, parent) = (process.d.pid, process.d.parent);
        let status = if process.d.tagged != 0 { TAGGED } else { status };
        let loan = core::mem::take(&mut process.loan);
        let state = State::from_raw(process.d.state);
        match state {
            Some(State::Ready) => self.leave_ready(slot),
            Some(State::Sending) => self.leave_port(slot),
            Some(State::AwaitingReply) => self.end_loan(loan),
            Some(State::Gated) => self.leave_gateway(slot),
            _ => {}
        }
        self.timers.cancel(slot);
        if slot == self.current {
            self.current = 0;
            self.hw.load_root(self.kernel_root);
        }
        self.change_state(slot, State::Zombie).status = status;
        self.drop_borrowed(slot);
        self.close_ports(slot);
        self.detach(pid);
        self.service_ended(slot, status);
        self.free_frames(slot, pid);
        // Its buffers and frames are there for others, and so is the room that it may have been let in for.
        self.open_gates();
        self.orphan_children(slot, pid);
        self.info.alive -= 1;
        match status {
            0 => self.info.counters.exits += 1,
            // Somebody judged it, which says nothing against the system.
            TAGGED | ORDERED => {}
            _ => self.info.counters.crashes += 1,
        }
        match self.find(parent) {
            None => self.reap(slot),
            Some(parent) if self.process(parent).d.state == State::Waiting as u8 => {
                self.process(parent).children -= 1;
                self.wake(parent, 0, [u64::from(pid.0), status]);
                self.reap(slot);
            }
            Some(parent) => {
                let mut zombies = self.process(parent).zombies;
                self.links.push(&mut zombies, slot);
                self.process(parent).zombies = zombies;
            }
        }
    }

    fn free_frames(&mut self, slot: usize, pid: Pid) {
        let mut chain = self.process(slot).frames();
        while let Some(frame) = self.pager.unchain(&mut chain) {
            self.take_back(pid, frame);
        }
        let process = self.process(slot);
        process.set_frames(Chain::default());
        process.d.frames = 0;
        // Its page tables are no more: nobody must follow them.
        process.d.root = 0;
    }

    fn orphan_children(&mut self, slot: usize, pid: Pid) {
        let mut zombies = self.process(slot).zombies;
        while let Some(zombie) = self.links.pop(&mut zombies) {
            self.reap(zombie);
        }
        if self.process(slot).children == 0 {
            return;
        }
        for other in 1..self.slots.limit() {
            if self.descriptors[other] != 0 && self.process(other).d.parent == pid {
                self.process(other).d.parent = Pid::NONE;
            }
        }
    }

    fn reap(&mut self, slot: usize) {
        let pid = self.process(slot).d.pid;
        let frame = Frame(u64::from(core::mem::take(&mut self.descriptors[slot])));
        self.processes[slot] = 0;
        self.take_back(pid, frame);
        self.slots.put(&mut self.links, slot);
    }

    /// An embryo that could not be finished: as if it had never been.
    fn recycle(&mut self, slot: usize) {
        let pid = self.process(slot).d.pid;
        self.free_frames(slot, pid);
        self.reap(slot);
    }

    /// Gives the status of a dead child, or waits for one.
    #[inline(never)]
    pub(crate) fn wait(&mut self, slot: usize, timeout: u64) -> Result<(), Error> {
        let mut zombies = self.process(slot).zombies;
        if let Some(zombie) = self.links.pop(&mut zombies) {
            let child = self.process(zombie);
            let (pid, status) = (child.d.pid, child.status);
            let process = self.process(slot);
            process.zombies = zombies;
            process.children -= 1;
            [process.d.context.rdi, process.d.context.rsi] = [u64::from(pid.0), status];
            process.d.context.rax = 0;
            self.reap(zombie);
            return Ok(());
        }
        if self.process(slot).children == 0 && timeout == 0 {
            return Err(Error::NotFound);
        }
        if timeout != 0 {
            let due = self.info.tick.saturating_add(timeout);
            self.timers.set(slot, due);
        }
        self.block(slot, State::Waiting);
        Ok(())
    }
}

/// A well-mixed number from a seed and a serial number (SplitMix64, Steele, Lea and Flood 2014).
pub fn mix(seed: u64, serial: u64) -> u64 {
    let mut z = seed.wrapping_add(serial.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
