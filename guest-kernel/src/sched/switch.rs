//! The two ways in which the CPU changes hands, and the one place where a process's state changes.

use abi::Pid;
use abi::info::Info;
use abi::layout::{KERNEL_CS, KERNEL_SS, USER_CS, USER_SS};
use abi::process::{DESCRIPTOR_MAGIC, State};

use super::ready::{LONGEST_BURST, Ready, class, predict};
use super::{HIGHEST, Scheduler};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::base::process::Process;

/// States in which a process waits for others, by their numbers.
const WAITS_FOR_OTHERS: u32 = 1 << State::Ready as u32
    | 1 << State::Sending as u32
    | 1 << State::AwaitingReply as u32
    | 1 << State::Gated as u32
    | 1 << State::Collecting as u32;

impl Process {
    /// How long its present burst has been so far, in sixteenths.
    #[inline(always)]
    fn burst(&self) -> u32 {
        self.d.entries.wrapping_sub(self.burst_from).min(LONGEST_BURST) as u32 * 16
    }

    /// The queue in which it waits for the CPU: by its prediction, or by what it has already run if that is
    /// more. A process that was lifted for its age counts as short: it has waited behind short bursts long
    /// enough.
    #[inline(always)]
    pub(super) fn place(&self) -> usize {
        let class = if self.lifted == 0 { class(self.burst().max(self.d.predicted)) } else { 0 };
        Ready::place(self.d.effective, class)
    }

    /// Its priority by itself and by its age, without what it was lent.
    pub(crate) fn own_priority(&self) -> u8 {
        let priority = self.d.priority;
        priority.saturating_sub(self.lifted as u8).max(HIGHEST.min(priority))
    }

    /// Changes the state and keeps the accounts: since when, how long it has waited for others, its bursts.
    /// Returns the levels by which it was lifted until now.
    #[inline(always)]
    fn set_state(&mut self, state: State, info: &mut Info) -> u16 {
        let (now, before) = (info.tick, self.d.state);
        if WAITS_FOR_OTHERS >> (before & 31) & 1 != 0 {
            self.d.waited += now.saturating_sub(self.d.since);
        }
        self.d.since = now;
        self.d.state = state as u8;
        self.queued = 0;
        if before != State::Running as u8 {
            return 0;
        }
        if !matches!(state, State::Ready | State::Zombie) {
            let wrong = self.end_burst();
            info.counters.bursts += 1;
            info.counters.misjudged += u64::from(wrong);
        }
        core::mem::take(&mut self.lifted)
    }

    /// Ends a burst; returns the error of its prediction, in kernel entries to the nearest.
    #[inline(always)]
    fn end_burst(&mut self) -> u32 {
        let actual = self.burst();
        let wrong = (self.d.predicted.abs_diff(actual) + 8) / 16;
        self.burst_from = self.d.entries;
        self.d.predicted = predict(self.d.predicted, actual);
        self.d.bursts = self.d.bursts.wrapping_add(1);
        self.d.misjudged = self.d.misjudged.saturating_add(wrong);
        wrong
    }
}

impl<H: Hardware> Scheduler<H> {
    /// Begins a switch: the running process waits for the CPU like the others.
    #[inline(always)]
    pub(crate) fn begin_switch(&mut self) {
        self.preempt = false;
        let slot = self.current();
        if !slot.is_none() {
            self.set_current(Slot::NONE);
            self.make_ready(slot);
        }
    }

    /// Takes the next process that waits for the CPU, passing over those that are doomed.
    #[inline(always)]
    pub(crate) fn next_ready(&mut self) -> Option<Slot> {
        loop {
            let next = self.ready.pop(self.memory.links())?;
            if self.process(next).d.doomed == 0 {
                return Some(next);
            }
            self.process(next).queued = 0;
        }
    }

    /// Completes a switch: takes down what the next process has pending, and runs it.
    #[inline(always)]
    pub(crate) fn switch_to(&mut self, next: Slot) {
        self.preempt = false;
        self.counters().switches += 1;
        if self.info().pending_spaces != 0 {
            self.teardown(next);
        }
        self.run(next);
    }

    /// Hands the CPU to `to`, past the teardown.
    pub(crate) fn hand_off(&mut self, to: Slot) {
        self.counters().handoffs += 1;
        self.run(to);
    }

    #[inline(always)]
    fn run(&mut self, next: Slot) {
        let process = self.change_state(next, State::Running);
        if process.d.magic != DESCRIPTOR_MAGIC {
            damaged(next);
        }
        // Saved registers may have been where the process could write them. The descriptor decides the ring.
        let in_ring_0 = process.d.ring == 0 || process.phone.active != 0;
        let selectors = if in_ring_0 { (KERNEL_CS, KERNEL_SS) } else { (USER_CS, USER_SS) };
        (process.d.context.cs, process.d.context.ss) = (u64::from(selectors.0), u64::from(selectors.1));
        let (pid, root) = (process.d.pid, process.root());
        self.set_current(next);
        self.info_mut().current = pid;
        self.hw().load_root(root);
        let descriptor = self.descriptor(next);
        self.hw().resume_from(descriptor);
    }

    /// Changes a process's state: the one place where that happens. Returns the process.
    #[inline(always)]
    pub(crate) fn change_state(&mut self, slot: Slot, state: State) -> &mut Process {
        if self.params().fix_priorities {
            self.set_state_and_priority(slot, state);
            return self.process(slot);
        }
        let (process, info) = self.process_and_info(slot);
        process.set_state(state, info);
        if !waits(state) {
            process.d.peer = Pid::NONE;
        }
        process
    }

    /// With inheritance, priorities change with the state: that of a process that was lifted, and that of the
    /// process that it no longer waits for.
    #[inline(never)]
    fn set_state_and_priority(&mut self, slot: Slot, state: State) {
        let (process, info) = self.process_and_info(slot);
        let lifted = process.set_state(state, info);
        let peer = process.d.peer;
        if lifted != 0 {
            self.refresh_priority(slot, Pid::NONE);
        }
        if peer != Pid::NONE && !waits(state) {
            self.set_peer(slot, Pid::NONE);
        }
    }

    /// Makes a process wait for the CPU.
    pub(crate) fn make_ready(&mut self, slot: Slot) {
        self.change_state(slot, State::Ready);
        self.enter_ready(slot);
    }

    #[inline(always)]
    pub(super) fn enter_ready(&mut self, slot: Slot) {
        let process = self.process(slot);
        let (place, priority) = (process.place(), process.d.effective);
        process.queued = place as u16 + 1;
        self.ready.push(self.memory.links(), slot, place);
        let running = self.current();
        if !running.is_none() && priority < self.process(running).d.effective {
            self.preempt = true;
        }
    }

    /// Takes a process out of the ready queue.
    pub(crate) fn leave_ready(&mut self, slot: Slot) {
        if let Some(place) = core::mem::take(&mut self.process(slot).queued).checked_sub(1) {
            self.ready.remove(self.memory.links(), slot, usize::from(place));
        }
    }

    /// Ends the running process's share of a tick: others of its priority come first.
    pub(crate) fn end_share(&mut self) {
        let running = self.current();
        if !running.is_none() {
            let priority = self.process(running).d.effective;
            self.preempt |= self.ready.any_at(priority);
        }
    }

    /// Makes the running process wait; another must be found.
    #[inline(always)]
    pub(crate) fn block(&mut self, slot: Slot, state: State) {
        self.change_state(slot, state);
        self.set_current(Slot::NONE);
    }

    /// Makes a process wait for another. Returns the process.
    #[inline(always)]
    pub(crate) fn wait_for(&mut self, slot: Slot, state: State, peer: Pid) -> &mut Process {
        if self.params().fix_priorities {
            self.set_state_and_priority(slot, state);
            if self.process(slot).d.peer != peer {
                self.set_peer(slot, peer);
            }
            return self.process(slot);
        }
        let process = self.change_state(slot, state);
        process.d.peer = peer;
        process
    }
}

/// Whether a process in this state may wait for another.
const fn waits(state: State) -> bool {
    !matches!(state, State::Ready | State::Running | State::Zombie)
}

#[cold]
#[inline(never)]
fn damaged(slot: Slot) -> ! {
    panic!("the descriptor of slot {} is damaged", slot.index())
}
