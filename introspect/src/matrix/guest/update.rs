//! Reads a guest's tables again where they changed. The result is that of [`Guest::refresh`], without reading
//! pages that were not written. A guest with bad entries is read whole each time.

use abi::frame::FrameEntry;
use abi::info::{INFO_MAGIC, Info, VERSION};
use abi::layout::PAGE_SIZE;
use abi::process::{DESCRIPTOR_MAGIC, Descriptor, State};
use abi::{Frame, GuestPhys};

use super::tables::{FRAME_TABLE, Guest, PROCESS_TABLE, ReadError, read_table};
use crate::x86::changed::Changed;
use crate::x86::memory::PhysicalMemory;

/// What an update found changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct News {
    /// Everything was read: anything may have changed.
    pub everything: bool,
    /// Frames whose entry in the frame table changed.
    pub facts: Vec<Frame>,
    /// A loan may have changed.
    pub loans: bool,
    /// A process, or an object of the kernel, may have changed.
    pub processes: bool,
}

impl Guest {
    /// Reads again what may have changed since the last reading, and reports the changes in `news`. No frame
    /// outside `changed` was written since then.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn update<M: PhysicalMemory + ?Sized>(
        &mut self,
        mem: &M,
        info: GuestPhys,
        changed: &Changed,
        news: &mut News,
    ) -> Result<(), ReadError> {
        news.facts.clear();
        (news.everything, news.loans, news.processes) = (false, false, false);
        let known = self.info.magic == INFO_MAGIC && self.info_at == info && self.problems.is_empty();
        let old = self.info;
        if known && !changed.is_everything() {
            self.info = (&mem).read_value(info).map_err(ReadError::NoInfo)?;
            if same_tables(&old, &self.info) {
                let updated = self.update_tables(&mem, &old, changed, news);
                return updated.inspect_err(|_| self.info.magic = 0);
            }
        }
        news.everything = true;
        // After an error the contents are unusable.
        self.refresh(mem, info).inspect_err(|_| self.info.magic = 0)
    }

    fn update_tables<M: PhysicalMemory>(
        &mut self,
        mem: &M,
        old: &Info,
        changed: &Changed,
        news: &mut News,
    ) -> Result<(), ReadError> {
        let info = self.info;
        let touched =
            |at: GuestPhys, count: u32, size: usize| changed.touches(at, u64::from(count) * size as u64);
        self.update_processes(mem, changed, news)?;
        self.update_frames(mem, changed, news)?;
        if touched(info.loan_table, info.loan_slots, size_of::<abi::loan::Loan>()) {
            self.read_loans(mem)?;
            news.loans = true;
        }
        if touched(info.flow_table, info.flow_slots, size_of::<abi::flow::Flow>()) {
            self.read_flows(mem)?;
        }
        if info.gate_waiting != old.gate_waiting
            || touched(info.gate_table, info.gate_slots, size_of::<abi::flow::Gate>())
        {
            self.read_gates(mem)?;
        }
        if touched(info.service_table, info.service_slots, size_of::<abi::service::Service>()) {
            self.read_services(mem)?;
        }
        news.processes |= info.grant_log != old.grant_log || info.kernel_root != old.kernel_root;
        Ok(())
    }

    fn update_processes<M: PhysicalMemory>(
        &mut self,
        mem: &M,
        changed: &Changed,
        news: &mut News,
    ) -> Result<(), ReadError> {
        let (at, count) = (self.info.process_table, self.info.process_slots);
        let mut in_order = true;
        if changed.touches(at, u64::from(count) * size_of::<u32>() as u64) {
            let before = std::mem::take(&mut self.slots);
            read_table(mem, PROCESS_TABLE, at, count, &mut self.slots)?;
            in_order = before == self.slots;
        }
        // A descriptor lies in the one frame that the table names.
        if in_order && !changed.meets(&self.named) {
            return Ok(());
        }
        for process in self.processes.iter_mut().filter(|process| changed.has(process.frame)) {
            news.processes = true;
            let Ok(descriptor) = mem.read_value::<Descriptor>(process.frame.base()) else {
                in_order = false;
                break;
            };
            in_order &= descriptor.magic == DESCRIPTOR_MAGIC
                && descriptor.pid == process.descriptor.pid
                && State::from_raw(descriptor.state).is_some();
            process.descriptor = descriptor;
        }
        if !in_order {
            news.processes = true;
            self.read_processes(mem);
        }
        Ok(())
    }

    /// Compares the changed pages of the frame table with the known entries.
    fn update_frames<M: PhysicalMemory>(
        &mut self,
        mem: &M,
        changed: &Changed,
        news: &mut News,
    ) -> Result<(), ReadError> {
        const SIZE: u64 = size_of::<FrameEntry>() as u64;
        const MOST: usize = (PAGE_SIZE / SIZE) as usize + 2;
        let at = self.info.frame_table;
        for page in changed.within(at, self.frames.len() as u64 * SIZE) {
            // The entries in this page, including those that only begin or end in it.
            let start = page.base().0.saturating_sub(at.0) / SIZE;
            let end = (page.base().0 + PAGE_SIZE - at.0).div_ceil(SIZE).min(self.frames.len() as u64);
            let old = &mut self.frames[start as usize..end as usize];
            let mut fresh = [FrameEntry::default(); MOST];
            let fresh = &mut fresh[..old.len()];
            let from = at.add(start * SIZE);
            mem.read_values(from, fresh)
                .map_err(|cause| ReadError::NoTable { table: FRAME_TABLE.0, cause })?;
            if old == fresh {
                continue;
            }
            for ((old, new), frame) in old.iter_mut().zip(fresh).zip(start..) {
                if old != new {
                    news.facts.push(Frame(frame));
                    *old = *new;
                }
            }
        }
        news.facts.dedup();
        Ok(())
    }
}

/// Returns whether the tables are where they were, in the same version of the contract.
fn same_tables(old: &Info, new: &Info) -> bool {
    let places = |info: &Info| {
        let at = [
            info.process_table,
            info.frame_table,
            info.loan_table,
            info.flow_table,
            info.gate_table,
            info.service_table,
        ];
        let counts = [
            info.process_slots,
            info.frames,
            info.loan_slots,
            info.flow_slots,
            info.gate_slots,
            info.service_slots,
        ];
        (at, counts)
    };
    new.magic == INFO_MAGIC && new.version == VERSION && places(old) == places(new)
}
