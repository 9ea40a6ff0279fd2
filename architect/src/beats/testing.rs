//! Small guests for the detectors' tests: processes with page tables of their own in a few frames of memory.

use abi::frame::{FrameEntry, FrameKind};
use abi::layout::PAGE_SIZE;
use abi::process::{DESCRIPTOR_MAGIC, Descriptor, State};
use abi::trace::{Kind, Record};
use abi::{Frame, Pid};
use introspect::matrix::guest::{Guest, Process};
use introspect::x86::memory::PhysicalMemory;
use introspect::x86::paging::Paging;
use introspect::x86::paging::bits::{NO_EXECUTE, PRESENT, USER, WRITE};
use introspect::x86::reverse::ReverseMap;
use serde_json::Value;
use zerocopy::FromZeros;

use super::detector::{Detector, View};
use super::known::Known;

pub(super) const FRAMES: u64 = 128;

pub(super) fn record(kind: Kind, tick: u32, pid: Pid, [a, b, c]: [u64; 3]) -> Record {
    Record { tick, kind: kind as u16, reserved: 0, pid, a: a as u32, b, c }
}

pub(super) fn pid(slot: usize) -> Pid {
    Pid::new(slot, 1)
}

/// A guest, what is known of it, and the detector that looks at it.
pub(super) struct World<D> {
    pub(super) detector: D,
    pub(super) guest: Guest,
    pub(super) memory: Vec<u8>,
    known: Known,
    /// The next frame for a page table, from the top.
    table: u64,
}

impl<D: Detector + Default> World<D> {
    pub(super) fn new() -> Self {
        let mut guest = Guest::default();
        guest.frames =
            vec![FrameEntry { kind: FrameKind::User as u8, ..FrameEntry::default() }; FRAMES as usize];
        let memory = vec![0; (FRAMES * PAGE_SIZE) as usize];
        Self { detector: D::default(), guest, memory, known: Known::default(), table: FRAMES }
    }

    /// Adds a process in ring 3 with this uid and program, and says so in the trace. Slots in rising order.
    pub(super) fn process(&mut self, slot: usize, uid: u32, program: u32) -> Pid {
        let mut descriptor = Descriptor::new_zeroed();
        (descriptor.magic, descriptor.pid, descriptor.uid) = (DESCRIPTOR_MAGIC, pid(slot), uid);
        (descriptor.program, descriptor.ring, descriptor.priority) = (program, 3, 4);
        descriptor.state = State::Ready as u8;
        descriptor.root = self.new_table() as u32;
        self.guest.processes.push(Process { frame: Frame(0), descriptor });
        assert_eq!(self.event(Kind::Spawn, 0, pid(slot), [uid.into(), 0, 0]), None);
        pid(slot)
    }

    pub(super) fn descriptor(&mut self, pid: Pid) -> &mut Descriptor {
        let found = self.guest.processes.iter_mut().find(|process| process.descriptor.pid == pid);
        &mut found.unwrap().descriptor
    }

    pub(super) fn kind(&mut self, frame: u64, kind: FrameKind) {
        self.guest.frames[frame as usize].kind = kind as u8;
    }

    pub(super) fn fill(&mut self, frame: u64, text: &[u8]) {
        let at = (frame * PAGE_SIZE) as usize;
        self.memory[at..at + text.len()].copy_from_slice(text);
    }

    fn new_table(&mut self) -> u64 {
        self.table -= 1;
        self.guest.frames[self.table as usize].kind = FrameKind::PageTable as u8;
        self.table
    }

    /// Maps a frame for ring 3: executable, or writable.
    pub(super) fn map(&mut self, pid: Pid, virt: u64, frame: u64, executable: bool) {
        let mut table = u64::from(self.descriptor(pid).root);
        for shift in [39, 30, 21] {
            let at = (table * PAGE_SIZE + (virt >> shift & 511) * 8) as usize;
            let entry = self.memory.as_slice().read_u64(abi::GuestPhys(at as u64)).unwrap();
            table = if entry & PRESENT != 0 { entry / PAGE_SIZE } else { self.new_table() };
            let entry = (table * PAGE_SIZE) | PRESENT | USER | WRITE;
            self.memory[at..at + 8].copy_from_slice(&entry.to_le_bytes());
        }
        let at = (table * PAGE_SIZE + (virt >> 12 & 511) * 8) as usize;
        let rights = if executable { 0 } else { WRITE | NO_EXECUTE };
        let entry = (frame * PAGE_SIZE) | PRESENT | USER | rights;
        self.memory[at..at + 8].copy_from_slice(&entry.to_le_bytes());
    }

    pub(super) fn event(&mut self, kind: Kind, tick: u32, pid: Pid, values: [u64; 3]) -> Option<Value> {
        let record = record(kind, tick, pid, values);
        self.known.event(&record);
        self.detector.event(&record, &self.known)
    }

    pub(super) fn audit(&mut self, tick: u64) -> Option<Value> {
        self.guest.info.tick = tick;
        let memory = self.memory.as_slice();
        let map = ReverseMap::build(memory, Paging::default(), self.guest.spaces(), ReverseMap::BUDGET);
        let view = View { tick, guest: &self.guest, map: &map, memory: &memory };
        let proof = self.detector.audit(&view, &self.known);
        self.known.audit(&self.guest);
        proof
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }
}
