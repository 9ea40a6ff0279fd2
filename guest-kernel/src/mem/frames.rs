//! Frames of processes: given zeroed and traced, taken back into quarantine while a window still stands.

use abi::frame::FrameKind;
use abi::trace::Kind;
use abi::{Frame, Pid};

use super::Memory;
use super::pager::Source;
use super::space::NoMemory;
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::base::process::Chain;

impl<H: Hardware> Memory<H> {
    /// Gives a zeroed frame to the process in `slot`; it is taken back when the process ends.
    pub(crate) fn give(&mut self, slot: Slot, kind: FrameKind) -> Result<Frame, NoMemory> {
        let pid = self.process(slot).d.pid;
        let frame = self.give_loose(pid, kind)?;
        let mut chain = self.process(slot).frames();
        self.pager.chain(&mut chain, frame);
        let process = self.process(slot);
        process.set_frames(chain);
        process.d.frames += 1;
        Ok(frame)
    }

    /// Gives a zeroed frame to `pid`, which the caller takes back.
    #[inline(always)]
    pub(crate) fn give_loose(&mut self, pid: Pid, kind: FrameKind) -> Result<Frame, NoMemory> {
        if self.params().fix_pager && self.pager.free_frames() == 0 {
            self.teardown_all();
        }
        let (frame, source) = self.pager.take(kind, pid).ok_or(NoMemory)?;
        if source == Source::Early {
            self.counters().early_reuses += 1;
        }
        self.publish_frames();
        self.emit(Kind::Given, pid, kind as u32, frame.0, source as u64);
        if self.pager.is_alarming() {
            self.low_water();
        }
        match kind {
            FrameKind::PageTable => self.hw().zero_table(frame),
            _ => self.hw().zero(frame),
        }
        Ok(frame)
    }

    #[cold]
    fn low_water(&mut self) {
        self.pager.alarmed();
        self.counters().low_water += 1;
        let (free, mark) = (self.pager.free_frames(), self.pager.mark());
        self.emit(Kind::LowWater, Pid::NONE, free, u64::from(mark), 0);
    }

    /// Takes a frame back, into quarantine while any window is still to be taken down.
    pub(crate) fn take_back(&mut self, pid: Pid, frame: Frame) {
        let guarded = self.info().pending_spaces != 0;
        self.pager.put(frame, guarded);
        self.publish_frames();
        let epoch = u64::from(self.pager.epoch());
        self.emit(Kind::Freed, pid, u32::from(guarded), frame.0, epoch);
    }

    /// Gives a frame as version 1 of the system calls did: a free one only, and outside the process's
    /// account.
    pub(crate) fn give_unaccounted(&mut self, slot: Slot, kind: FrameKind) -> Result<Frame, NoMemory> {
        if self.pager.free_frames() == 0 {
            return Err(NoMemory);
        }
        let pid = self.process(slot).d.pid;
        let (frame, source) = self.pager.take(kind, pid).ok_or(NoMemory)?;
        debug_assert!(source != Source::Early);
        let mut chain = self.process(slot).frames();
        self.pager.chain(&mut chain, frame);
        self.process(slot).set_frames(chain);
        self.publish_frames();
        self.emit(Kind::Given, pid, kind as u32, frame.0, source as u64);
        match kind {
            FrameKind::PageTable => self.hw().zero_table(frame),
            _ => self.hw().zero(frame),
        }
        Ok(frame)
    }

    /// Takes back every frame of a process, and its address space with them.
    pub(crate) fn take_back_all(&mut self, slot: Slot, pid: Pid) {
        let mut chain = self.process(slot).frames();
        while let Some(frame) = self.pager.unchain(&mut chain) {
            self.take_back(pid, frame);
        }
        let process = self.process(slot);
        process.set_frames(Chain::default());
        process.d.frames = 0;
        // The page tables are gone: no reader may follow them.
        process.d.root = 0;
    }

    /// Hands a frame that is already given to another owner.
    pub(crate) fn change_owner(&mut self, frame: Frame, owner: Pid) {
        self.pager.own(frame, owner);
    }

    /// Withholds free frames from use. They were free, so no process loses anything; the quarantine is not
    /// touched.
    pub(crate) fn withhold(&mut self, frames: u32) {
        for _ in 0..frames.min(self.pager.free_frames()) {
            let Ok(frame) = self.give_loose(Pid::NONE, FrameKind::Kernel) else { return };
            self.pager.chain(&mut self.withheld, frame);
        }
    }

    /// Gives withheld frames back.
    pub(crate) fn give_back_withheld(&mut self, frames: u32) {
        for _ in 0..frames {
            let Some(frame) = self.pager.unchain(&mut self.withheld) else { break };
            self.take_back(Pid::NONE, frame);
        }
    }

    /// Sets the low-water mark.
    pub(crate) fn watch_low_water(&mut self, mark: u32) {
        self.pager.watch(mark);
    }

    /// Shows the pager's numbers to the outside.
    pub(crate) fn publish_frames(&mut self) {
        let (free, quarantined, epoch) =
            (self.pager.free_frames(), self.pager.quarantined(), self.pager.epoch());
        let info = self.info_mut();
        info.free_frames = free;
        info.quarantined = quarantined;
        info.epoch = epoch;
    }
}

#[cfg(test)]
impl<H> Memory<H> {
    /// The frames that are withheld.
    pub(crate) fn withheld(&self) -> std::vec::Vec<u32> {
        let next = |number: &u32| self.pager.entry(Frame(u64::from(*number))).map(|entry| entry.next);
        core::iter::successors(Some(self.withheld.first), next).take_while(|number| *number != 0).collect()
    }
}
