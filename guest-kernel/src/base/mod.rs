//! The layer below all others: the machine, the boot parameters, the process table, the trace. It owns the
//! tables that the host reads about the kernel as a whole and the list by which processes are found. It
//! touches nothing else, and every layer calls it.

pub(crate) mod arguments;
pub mod hardware;
pub mod index;
pub(crate) mod layer;
pub mod module;
pub mod params;
pub mod process;
pub mod queue;

use abi::info::{Counters, Doorbell, HOST_LISTENS, Info};
use abi::process::{Context, PROCESS_SLOTS};
use abi::trace::{Kind, Record};
use abi::{Frame, GuestPhys, Pid};
use zerocopy::{FromBytes, IntoBytes};

use hardware::Hardware;
use index::Slot;
use module::Module;
use params::Params;
use process::{Process, Slots};
use queue::Links;

/// Records in the trace ring.
pub const TRACE_SLOTS: usize = 1024;

/// The tables of this layer that the host reads.
pub struct BaseTables {
    /// The info block.
    pub info: &'static mut Info,
    /// Frame numbers of the descriptors.
    pub processes: &'static mut [u32; PROCESS_SLOTS],
    /// The trace.
    pub ring: &'static mut [Record; TRACE_SLOTS],
}

/// The machine and what the kernel knows of its processes.
pub struct Core<H> {
    hw: H,
    info: &'static mut Info,
    processes: &'static mut [u32; PROCESS_SLOTS],
    ring: &'static mut [Record; TRACE_SLOTS],
    module: Module,
    params: Params,
    slots: Slots,
    /// Frame numbers of the descriptors, for the kernel itself: it finds a process by its slot here, whatever
    /// the process table says, in which pids are looked up and which the host reads.
    descriptors: [u32; PROCESS_SLOTS],
    links: Links,
    /// The slot that runs; 0 while none does.
    current: Slot,
    /// Records that certainly fit into the trace ring.
    trace_room: u32,
}

impl<H: Hardware> Core<H> {
    /// Creates the layer, without processes.
    #[inline(always)]
    pub(crate) fn new(hw: H, tables: BaseTables, module: Module, params: Params) -> Self {
        let BaseTables { info, processes, ring } = tables;
        Self {
            hw,
            info,
            processes,
            ring,
            module,
            params,
            slots: Slots::new(),
            descriptors: [0; PROCESS_SLOTS],
            links: Links::new(),
            current: Slot::NONE,
            trace_room: 0,
        }
    }

    /// The machine.
    #[inline(always)]
    pub(crate) fn hw(&mut self) -> &mut H {
        &mut self.hw
    }

    /// The info block.
    #[inline(always)]
    pub fn info(&self) -> &Info {
        self.info
    }

    /// The info block, each field of which is written by the subsystem that it is about.
    #[inline(always)]
    pub(crate) fn info_mut(&mut self) -> &mut Info {
        self.info
    }

    /// The counters.
    #[inline(always)]
    pub(crate) fn counters(&mut self) -> &mut Counters {
        &mut self.info.counters
    }

    /// Virtual time.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        self.info.tick
    }

    /// The tick `timeout` from now.
    #[inline(always)]
    pub(crate) fn due_in(&self, timeout: u64) -> u64 {
        self.info.tick.saturating_add(timeout)
    }

    /// The boot module.
    #[inline(always)]
    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    /// The boot parameters.
    #[inline(always)]
    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    /// The links of all queues of processes.
    #[inline(always)]
    pub(crate) fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    /// The slot that runs; 0 while none does.
    #[inline(always)]
    pub(crate) fn current(&self) -> Slot {
        self.current
    }

    /// Makes a slot the one that runs; 0 for none. Only the scheduler chooses one.
    #[inline(always)]
    pub(crate) fn set_current(&mut self, slot: Slot) {
        self.current = slot;
    }

    /// Whether a slot has a process.
    #[inline(always)]
    pub(crate) fn is_taken(&self, slot: Slot) -> bool {
        self.descriptors[slot.index()] != 0
    }

    /// The slots that ever had a process, in their order.
    #[inline(always)]
    pub(crate) fn slots_used(&self) -> impl Iterator<Item = Slot> + use<H> {
        (1..self.slots.limit()).map(Slot::new)
    }

    /// The frame of the descriptor in a slot.
    #[inline(always)]
    pub(crate) fn descriptor(&self, slot: Slot) -> Frame {
        Frame(u64::from(self.descriptors[slot.index()]))
    }

    /// The process in a slot that has one.
    #[inline(always)]
    pub(crate) fn process(&mut self, slot: Slot) -> &mut Process {
        let frame = self.descriptor(slot);
        Self::process_in(&mut self.hw, frame)
    }

    /// The arguments of the system call that the process in a slot makes.
    #[inline(always)]
    pub(crate) fn arguments<A: for<'a> From<&'a Context>>(&mut self, slot: Slot) -> A {
        A::from(&self.process(slot).d.context)
    }

    /// The process in a slot that has one, and the info block.
    #[inline(always)]
    pub(crate) fn process_and_info(&mut self, slot: Slot) -> (&mut Process, &mut Info) {
        let frame = self.descriptor(slot);
        (Self::process_in(&mut self.hw, frame), self.info)
    }

    #[inline(always)]
    fn process_in(hw: &mut H, frame: Frame) -> &mut Process {
        let bytes = hw.page(frame).as_mut_bytes();
        match Process::mut_from_prefix(bytes) {
            Ok((process, _)) => process,
            // A frame is aligned and larger than a descriptor.
            Err(_) => unreachable!(),
        }
    }

    /// Looks up a living process in the process table.
    #[inline(always)]
    pub(crate) fn process_of(&mut self, pid: Pid) -> Option<&mut Process> {
        let frame = *self.processes.get(pid.slot())?;
        if frame == 0 {
            return None;
        }
        Some(Self::process_in(&mut self.hw, Frame(u64::from(frame)))).filter(|process| process.d.pid == pid)
    }

    /// Looks up the slot of a living process in the process table.
    pub(crate) fn find(&mut self, pid: Pid) -> Option<Slot> {
        let slot = Slot::of(pid);
        let frame = *self.processes.get(slot.index())?;
        (frame != 0 && self.process(slot).d.pid == pid).then_some(slot)
    }

    /// Looks up the slot of the living process that a program names.
    pub(crate) fn find_named(&mut self, pid: u64) -> Option<Slot> {
        u32::try_from(pid).ok().and_then(|pid| self.find(Pid(pid)))
    }

    /// Takes a slot for a new process; `None` if the table is full.
    pub(crate) fn take_slot(&mut self) -> Option<Pid> {
        self.slots.take(&mut self.links)
    }

    /// Enters a new process into both lists.
    pub(crate) fn enter_process(&mut self, slot: Slot, descriptor: Frame) {
        self.descriptors[slot.index()] = descriptor.0 as u32;
        self.processes[slot.index()] = descriptor.0 as u32;
    }

    /// Removes a process from both lists; returns the frame of its descriptor.
    pub(crate) fn remove_process(&mut self, slot: Slot) -> Frame {
        let frame = Frame(u64::from(core::mem::take(&mut self.descriptors[slot.index()])));
        self.processes[slot.index()] = 0;
        frame
    }

    /// Frees a slot; its old pid names no process from here on.
    pub(crate) fn put_slot(&mut self, slot: Slot) {
        self.slots.put(&mut self.links, slot);
    }

    /// Writes an event into the trace. A full ring is drained first, so that nothing is lost where a host
    /// listens.
    #[inline(always)]
    pub(crate) fn emit(&mut self, kind: Kind, pid: Pid, a: u32, b: u64, c: u64) {
        if self.trace_room == 0 {
            self.make_trace_room();
        }
        self.trace_room -= 1;
        let at = self.info.trace_head as usize % TRACE_SLOTS;
        self.ring[at] = Record { tick: self.info.tick as u32, kind: kind as u16, reserved: 0, pid, a, b, c };
        self.info.trace_head += 1;
    }

    /// Finds out how far the host has read, and has it drain the ring if that is full indeed.
    #[cold]
    #[inline(never)]
    fn make_trace_room(&mut self) {
        const ALL: u64 = TRACE_SLOTS as u64;
        let (features, tail) = self.hw.host();
        let mut waiting = self.info.trace_head - tail;
        if features & HOST_LISTENS == 0 {
            waiting = 0;
        } else if waiting >= ALL {
            self.hw.ring(Doorbell::TraceFull.value(GuestPhys(0)));
            waiting = self.info.trace_head - self.hw.host().1;
        }
        // A host that has not made room is asked again each time.
        self.trace_room = ALL.saturating_sub(waiting).max(1) as u32;
    }
}

#[cfg(test)]
impl<H> Core<H> {
    /// The trace ring.
    pub(crate) fn ring(&self) -> &[Record; TRACE_SLOTS] {
        self.ring
    }

    /// The machine, to be looked at.
    pub(crate) fn machine(&self) -> &H {
        &self.hw
    }

    /// The links of all queues of processes, to be looked at.
    pub(crate) fn all_links(&self) -> &Links {
        &self.links
    }

    /// The slots that the process table names.
    pub(crate) fn named_slots(&self) -> std::vec::Vec<Slot> {
        (0..PROCESS_SLOTS).filter(|slot| self.processes[*slot] != 0).map(Slot::new).collect()
    }

    /// One past the highest slot that ever had a process.
    pub(crate) fn slot_limit(&self) -> usize {
        self.slots.limit()
    }

    /// The process table that the host reads.
    pub(crate) fn process_table(&self) -> &[u32; PROCESS_SLOTS] {
        self.processes
    }

    /// The process table, to be damaged.
    pub(crate) fn process_table_mut(&mut self) -> &mut [u32; PROCESS_SLOTS] {
        self.processes
    }
}
