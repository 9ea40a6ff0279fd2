//! Birth and death of processes. A descriptor lives in a frame of its own; a pid carries the generation of
//! its slot.
//!
//! ```text
//! Embryo -> Ready <-> Running -> Sleeping | Sending | Receiving | AwaitingReply | Waiting | Gated | Collecting -> Ready
//!                        any of these -> Zombie -> (its parent asks) -> gone
//! ```
//!
//! A new process has page tables and its program's text, which all instances share; data, stack and heap are
//! only reserved and come page by page, when they are first touched (see [`crate::mem`]).
//!
//! The fourth place of the design bug: a dead process's frames go back to the pager at once, into quarantine.

use abi::frame::FrameKind;
use abi::layout::{KERNEL_CS, KERNEL_SS, PAGE_SIZE, USER_CS, USER_SS, USER_STACK_TOP, USER_TEXT};
use abi::process::{Context, DESCRIPTOR_MAGIC, State};
use abi::syscall::{Error, FIRST_PERSON};
use abi::trace::Kind;
use abi::{GuestVirt, Pid};

use super::signals::USER_FLAGS;
use super::{ORDERED, Processes, TAGGED};
use crate::base::arguments::WaitArguments;
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::base::params::Clock;
use crate::mem::space::{NoMemory, RODATA, TEXT};
use crate::sched::{HIGHEST, UNKNOWN_BURST};

/// Bit 1 of RFLAGS is always set. Interrupts stay off in the kernel and in kernel processes, whatever the
/// clock.
const RFLAGS: u64 = 2;
/// RFLAGS.IF, for ring 3 where there is an interrupt to be had: the virtual clock has none.
const INTERRUPTS: u64 = 1 << 9;

/// What a new user process is to be.
#[derive(Clone, Copy)]
pub struct Birth {
    /// Index in the boot module.
    pub program: usize,
    /// Its parent.
    pub parent: Pid,
    /// User id.
    pub uid: u32,
    /// Priority.
    pub priority: u8,
    /// Handed over in RDI.
    pub argument: u64,
}

impl<H: Hardware> Processes<H> {
    /// Starts a program of the boot module.
    pub fn spawn(&mut self, birth: Birth) -> Result<Pid, Error> {
        let program = *self.module().program(birth.program).ok_or(Error::NotFound)?;
        if birth.uid >= FIRST_PERSON && self.pager().is_scarce() {
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
        let seed = mix(self.params().seed, self.spawn_serial);
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

    /// Returns the flags that ring 3 gets, of those it wants: its own, and interrupts if the clock needs
    /// them.
    pub fn user_rflags(&self, wanted: u64) -> u64 {
        let interrupts = if self.params().clock == Clock::Apic { INTERRUPTS } else { 0 };
        (wanted & USER_FLAGS & !INTERRUPTS) | RFLAGS | interrupts
    }

    /// Starts a kernel process: ring 0, a stack of its own, the kernel's address space.
    pub fn spawn_kernel(&mut self, name: &[u8], entry: u64, priority: u8) -> Result<Pid, Error> {
        let slot = self.embryo(Pid::NONE, 0, priority).map_err(|_| Error::Exhausted)?;
        let stack = self.give(slot, FrameKind::KernelStack).map_err(|_| Error::Exhausted)?;
        let root = self.kernel_root().0 as u32;
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

    fn embryo(&mut self, parent: Pid, uid: u32, priority: u8) -> Result<Slot, NoMemory> {
        let pid = self.take_slot().ok_or(NoMemory)?;
        let frame = match self.give_loose(pid, FrameKind::Descriptor) {
            Ok(frame) => frame,
            Err(error) => {
                self.put_slot(Slot::of(pid));
                return Err(error);
            }
        };
        self.enter_process(Slot::of(pid), frame);
        let now = self.now();
        let process = self.process(Slot::of(pid));
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
        Ok(Slot::of(pid))
    }

    fn build_image(&mut self, slot: Slot, program: &abi::module::Program) -> Result<(), NoMemory> {
        self.build_space(slot)?;
        let pages = program.text_pages + program.rodata_pages;
        for page in 0..pages {
            let flags = if page < program.text_pages { TEXT } else { RODATA };
            let frame = self.module().frame(program.text_page + page);
            self.map(slot, GuestVirt(USER_TEXT + u64::from(page) * PAGE_SIZE), frame, flags)?;
        }
        Ok(())
    }

    fn born(&mut self, slot: Slot, parent: Pid) {
        if let Some(parent) = self.find(parent) {
            self.process(parent).children += 1;
        }
        let process = self.process(slot);
        let (pid, uid, root) = (process.d.pid, process.d.uid, process.root());
        self.counters().spawns += 1;
        self.info_mut().alive += 1;
        self.emit(Kind::Spawn, pid, uid, u64::from(parent.0), root.base().0);
        self.make_ready(slot);
    }

    /// Ends a process, whatever it is doing. Everything it holds is released at once; its descriptor stays
    /// until its parent has asked for the status.
    pub(crate) fn end(&mut self, slot: Slot, status: u64) {
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
        self.timers().cancel(slot);
        if slot == self.current() {
            self.set_current(Slot::NONE);
            let root = self.kernel_root();
            self.hw().load_root(root);
        }
        self.change_state(slot, State::Zombie).status = status;
        self.drop_borrowed(slot);
        self.close_ports(slot);
        self.detach(pid);
        self.service_ended(slot, status);
        self.take_back_all(slot, pid);
        // Its buffers and frames are available again, and so is the room that it may have been let in for.
        self.open_gates();
        self.orphan_children(slot, pid);
        self.info_mut().alive -= 1;
        match status {
            0 => self.counters().exits += 1,
            // Ended by a judgement, which says nothing against the system.
            TAGGED | ORDERED => {}
            _ => self.counters().crashes += 1,
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
                self.links().push(&mut zombies, slot);
                self.process(parent).zombies = zombies;
            }
        }
    }

    fn orphan_children(&mut self, slot: Slot, pid: Pid) {
        let mut zombies = self.process(slot).zombies;
        while let Some(zombie) = self.links().pop(&mut zombies) {
            self.reap(zombie);
        }
        if self.process(slot).children == 0 {
            return;
        }
        for other in self.slots_used() {
            if self.is_taken(other) && self.process(other).d.parent == pid {
                self.process(other).d.parent = Pid::NONE;
            }
        }
    }

    fn reap(&mut self, slot: Slot) {
        let pid = self.process(slot).d.pid;
        let frame = self.remove_process(slot);
        self.take_back(pid, frame);
        self.put_slot(slot);
    }

    /// Undoes a birth that could not be completed.
    fn recycle(&mut self, slot: Slot) {
        let pid = self.process(slot).d.pid;
        self.take_back_all(slot, pid);
        self.reap(slot);
    }

    /// Returns the status of a dead child, or waits for one.
    #[inline(never)]
    pub(crate) fn wait(&mut self, slot: Slot, WaitArguments { timeout }: WaitArguments) -> Result<(), Error> {
        let mut zombies = self.process(slot).zombies;
        if let Some(zombie) = self.links().pop(&mut zombies) {
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
            let due = self.due_in(timeout);
            self.timers().set(slot, due);
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
