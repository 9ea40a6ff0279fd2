//! Hidden address spaces: roots of page tables that lie in memory, while no entry of the process table names them. It is how
//! a process looks from outside that a rootkit has taken off the list.
//!
//! At a fixed interval of ticks an audit looks through all of memory for roots ([`introspect::x86::roots`]). A root that is nobody's is what
//! is left of a dead process, or hidden. The frame table tells which; but the frame table is memory, and who can write the
//! process table can write that one too. So it must be confirmed by what the trace has said: only a frame that the kernel has
//! reported as freed can be a dead man's. Records that were taken cannot be taken back. And what the processor has in CR3 at
//! that moment is an address space, whatever it looks like. The root that everything is compared
//! with is the one that the guest had at its first word, before anybody could have tampered with it.

use std::collections::BTreeSet;

use abi::frame::FrameKind;
use abi::process::Descriptor;
use abi::trace::{Kind, Record};
use abi::{Frame, GuestPhys, Pid};
use introspect::matrix::guest::Guest;
use introspect::matrix::roots::{Judged, Standing, judge};
use introspect::matrix::space::space_id;
use introspect::x86::Space;
use introspect::x86::memory::PhysicalMemory;
use introspect::x86::paging::Paging;
use introspect::x86::roots::{self, Root};
use introspect::x86::walk::{Budget, Mapping};
use serde_json::{Value, json};

use crate::scenario::AuditKeys;
use crate::trace::events::pid;
use vmm::host::memory::Region;

/// A hidden address space, when it was first found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its root, as found.
    pub judged: Judged,
    /// To whom the root's frame was given, by the frame table.
    pub owner: Pid,
    /// The proof.
    pub evidence: Value,
}

/// The hidden address spaces of a whole run, for its verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HiddenSpaces {
    /// How many were found.
    pub found: usize,
    /// The first few, with their evidence.
    first: Vec<Value>,
}

impl HiddenSpaces {
    /// Most that a verdict describes.
    const DESCRIBED: usize = 16;

    /// One more, found in this incarnation at this tick.
    pub fn add(&mut self, incarnation: u32, tick: u64, evidence: Value) {
        self.found += 1;
        if self.first.len() < Self::DESCRIBED {
            let mut value = json!({"incarnation": incarnation, "tick": tick});
            if let (Some(value), Value::Object(evidence)) = (value.as_object_mut(), evidence) {
                value.extend(evidence);
            }
            self.first.push(value);
        }
    }

    /// The first few, each with its evidence.
    pub fn spaces(&self) -> impl Iterator<Item = &Value> {
        self.first.iter()
    }

    /// The part of the verdict.
    pub fn to_json(&self) -> Value {
        json!({"found": self.found, "spaces": self.first})
    }
}

/// Looks for hidden address spaces in one incarnation of a guest.
#[derive(Default)]
pub struct Hidden {
    every: u64,
    due: u64,
    kernel_root: GuestPhys,
    /// Where there is memory.
    regions: Vec<Region>,
    /// The root that the processor had, until the next look.
    running: Option<GuestPhys>,
    /// Frames that the trace has given out as page tables and not taken back.
    tables: BTreeSet<Frame>,
    /// What is hidden, as far as known.
    spaces: Vec<Space>,
    known: BTreeSet<GuestPhys>,
    new: Vec<Found>,
}

impl Hidden {
    /// Mappings that the evidence shows.
    const SHOWN: usize = 8;
    /// What counting them may cost.
    const BUDGET: Budget = Budget { tables: 1 << 12, leaves: 1 << 16 };

    /// For a guest with memory in `regions` whose kernel has its own address space at `kernel_root`.
    pub fn new(keys: AuditKeys, regions: impl Iterator<Item = Region>, kernel_root: GuestPhys) -> Self {
        Self { every: keys.roots_every, regions: regions.collect(), kernel_root, ..Self::default() }
    }

    /// Looks at a record of the guest's.
    pub fn apply(&mut self, record: &Record) {
        match Kind::from_raw(record.kind) {
            Some(Kind::Given) if record.a == FrameKind::PageTable as u32 => {
                self.tables.insert(Frame(record.b));
            }
            Some(Kind::Given | Kind::Freed) => {
                self.tables.remove(&Frame(record.b));
            }
            _ => {}
        }
    }

    /// Whether the next look goes through all of memory, if it is at this tick.
    pub fn is_due(&self, now: u64) -> bool {
        self.every != 0 && now >= self.due
    }

    /// The root that the processor has, for the next look.
    pub fn running(&mut self, root: GuestPhys) {
        self.running = Some(root);
    }

    /// Part of an audit, with the guest's tables as just read: looks after the spaces that it knows of, and, when it is
    /// time, through all of memory.
    pub fn look<M: PhysicalMemory + ?Sized>(&mut self, memory: &M, guest: &Guest) {
        let now = guest.info.tick;
        if self.is_due(now) {
            self.due = now.saturating_add(self.every);
            let regions = std::mem::take(&mut self.regions);
            let numbers = regions
                .iter()
                .flat_map(|region| region.start.frame().0..region.start.add(region.bytes).frame().0);
            self.take_stock(memory, guest, numbers.map(Frame));
            self.regions = regions;
        } else if !self.spaces.is_empty() {
            // One that has ended leaves frames that become other people's: its tables must not be followed any further.
            let frames: Vec<_> = self.spaces.iter().map(|space| space.root.frame()).collect();
            self.take_stock(memory, guest, frames);
        }
    }

    fn take_stock<M: PhysicalMemory + ?Sized>(
        &mut self,
        memory: &M,
        guest: &Guest,
        frames: impl IntoIterator<Item = Frame>,
    ) {
        let mut roots = roots::sharing(memory, Paging::default(), frames, self.kernel_root).roots;
        let running = self.running.take().and_then(|root| roots::inspect(memory, Paging::default(), root));
        if let Some(running) = running
            && !roots.contains(&running)
        {
            roots.push(running);
        }
        self.spaces.clear();
        for judged in judge(guest, &roots) {
            let Judged { root, standing, .. } = judged;
            let Root { at, .. } = root;
            let in_use = self.tables.contains(&at.frame()) || running == Some(root);
            let dead = standing == Standing::Residue && !in_use;
            if dead || matches!(standing, Standing::Named(_)) {
                // If it is hidden later it is so anew.
                self.known.remove(&at);
                continue;
            }
            let owner = guest.fact(at.frame()).map_or(Pid::NONE, |fact| fact.owner);
            self.spaces.push(Space { id: space_id(owner), root: at });
            if self.known.insert(at) {
                let evidence = evidence(memory, guest, judged, owner);
                self.new.push(Found { judged, owner, evidence });
            }
        }
    }

    /// The hidden spaces, each as if it were the process's to whom its root was given: what that one may have mapped is in
    /// order here as well, and what it shares with others is found.
    pub fn spaces(&self) -> impl Iterator<Item = Space> + '_ {
        self.spaces.iter().copied()
    }

    /// What was found for the first time since this was last asked.
    pub fn take_new(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.new)
    }
}

/// A hidden space as evidence: where its root is, what the frame table says of that, whose it was, and what it maps.
fn evidence<M: PhysicalMemory + ?Sized>(memory: &M, guest: &Guest, judged: Judged, owner: Pid) -> Value {
    let (mut shown, mut pages) = (Vec::new(), 0u64);
    let mut visit = |mapping: Mapping| {
        pages += mapping.size.frames();
        if shown.len() < Hidden::SHOWN {
            shown.push(json!({
                "virtual": mapping.virt.to_string(),
                "frame": mapping.frame.to_string(),
                "kind": guest.fact(mapping.frame).and_then(|fact| FrameKind::from_raw(fact.kind)).map(FrameKind::name),
                "entry": mapping.entry.to_string(),
                "writable": mapping.rights.write,
                "executable": mapping.rights.execute,
            }));
        }
    };
    let walk = Paging::default().walk_ring3(memory, judged.root.at, Hidden::BUDGET, &mut visit);
    let descriptor = descriptor(memory, guest, owner);
    json!({
        "root": judged.root.at.to_string(),
        "kind": judged.kind.map(FrameKind::name),
        "owner": pid(owner),
        "name": descriptor.map(|(_, descriptor)| descriptor.label().collect::<String>()),
        "descriptor": descriptor.map(|(frame, _)| frame.base().to_string()),
        "pages": pages,
        "counted": walk.is_clean(),
        "mappings": shown,
    })
}

/// The descriptor of a process that the process table does not name: the frame table still has it, if nobody has seen to
/// that as well.
fn descriptor<M: PhysicalMemory + ?Sized>(
    memory: &M,
    guest: &Guest,
    owner: Pid,
) -> Option<(Frame, Descriptor)> {
    let mut frames = (0..).map(Frame).zip(&guest.frames);
    let (frame, _) = frames.find(|(_, fact)| {
        owner != Pid::NONE && fact.owner == owner && fact.kind == FrameKind::Descriptor as u8
    })?;
    let descriptor: Descriptor = (&memory).read_value(frame.base()).ok()?;
    (descriptor.pid == owner).then_some((frame, descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::frame::FrameEntry;
    use abi::info::{INFO_MAGIC, Info, VERSION};
    use abi::process::{DESCRIPTOR_MAGIC, State};
    use introspect::matrix::policy::What;
    use zerocopy::{FromZeros, IntoBytes};

    use introspect::Changed;

    use crate::analysis::observer::Observer;
    use vmm::host::memory::GuestMemory;

    const INFO_AT: GuestPhys = GuestPhys(0x5000);
    const PROCESSES: Frame = Frame(6);
    const FRAMES: Frame = Frame(7);
    const KERNEL_ROOT: Frame = Frame(10);
    const KERNEL_TABLE: Frame = Frame(11);
    const DESCRIPTOR: Frame = Frame(12);
    /// Roots of two processes; three tables follow each.
    const SEEN: Frame = Frame(20);
    const UNSEEN: Frame = Frame(30);
    /// A page of the first.
    const PAGE: Frame = Frame(40);
    /// A page that ring 3 can write and not execute.
    const DATA: u64 = 1 << 63 | 7;
    const FIRST: Pid = Pid::new(1, 0);
    const SECOND: Pid = Pid::new(2, 0);

    /// A guest of two processes, of which its process table names one.
    struct Matrix {
        memory: GuestMemory,
        frames: Vec<FrameEntry>,
        tick: u64,
    }

    impl Matrix {
        fn new() -> Self {
            let memory = GuestMemory::new(2).unwrap();
            let mut matrix = Self { memory, frames: vec![FrameEntry::default(); 512], tick: 0 };
            for frame in 0..12 {
                matrix.give(Frame(frame), FrameKind::Kernel, Pid::NONE);
            }
            matrix.entry(KERNEL_ROOT, 511, KERNEL_TABLE, 3);
            for (root, owner) in [(SEEN, FIRST), (UNSEEN, SECOND)] {
                matrix.entry(root, 511, KERNEL_TABLE, 3);
                for level in 0..3 {
                    matrix.entry(Frame(root.0 + level), 0, Frame(root.0 + level + 1), 7);
                }
                for frame in root.0..root.0 + 4 {
                    matrix.give(Frame(frame), FrameKind::PageTable, owner);
                }
            }
            matrix.give(PAGE, FrameKind::User, FIRST);
            matrix.entry(Frame(SEEN.0 + 3), 4, PAGE, DATA);
            matrix.give(DESCRIPTOR, FrameKind::Descriptor, FIRST);
            let mut descriptor = Descriptor::new_zeroed();
            (descriptor.magic, descriptor.pid) = (DESCRIPTOR_MAGIC, FIRST);
            (descriptor.root, descriptor.state) = (SEEN.0 as u32, State::Ready as u8);
            matrix.memory.write(DESCRIPTOR.base(), descriptor.as_bytes()).unwrap();
            matrix.name(FIRST, DESCRIPTOR);
            matrix.publish();
            matrix
        }

        fn entry(&self, table: Frame, index: u64, to: Frame, flags: u64) {
            let value = to.base().0 | flags;
            self.memory.write(table.base().add(index * 8), &value.to_le_bytes()).unwrap();
        }

        fn give(&mut self, frame: Frame, kind: FrameKind, owner: Pid) {
            self.frames[frame.0 as usize] = FrameEntry { kind: kind as u8, owner, ..FrameEntry::default() };
        }

        fn name(&self, pid: Pid, descriptor: Frame) {
            let at = PROCESSES.base().add(pid.slot() as u64 * 4);
            self.memory.write(at, &(descriptor.0 as u32).to_le_bytes()).unwrap();
        }

        fn publish(&self) {
            let info = Info {
                magic: INFO_MAGIC,
                version: VERSION,
                tick: self.tick,
                kernel_root: KERNEL_ROOT.base(),
                process_table: PROCESSES.base(),
                process_slots: 4,
                frame_table: FRAMES.base(),
                frames: self.frames.len() as u32,
                ..Info::default()
            };
            self.memory.write(INFO_AT, info.as_bytes()).unwrap();
            self.memory.write(FRAMES.base(), self.frames.as_slice().as_bytes()).unwrap();
        }

        fn observer(&self) -> Observer {
            Observer::attach(&self.memory, INFO_AT, AuditKeys { roots_every: 10, ..AuditKeys::default() })
                .unwrap()
        }

        /// The roots that an audit at this tick finds for the first time.
        fn audit(&mut self, observer: &mut Observer, tick: u64) -> Vec<Frame> {
            self.tick = tick;
            self.publish();
            observer.audit(&self.memory, &Changed::everything()).unwrap();
            observer.newly_hidden().iter().map(|found| found.judged.root.at.frame()).collect()
        }
    }

    fn record(kind: Kind, a: u32, frame: Frame) -> Record {
        Record { kind: kind as u16, a, b: frame.0, ..Record::default() }
    }

    #[test]
    fn a_root_that_no_table_names_is_found_once_with_its_proof() {
        let mut matrix = Matrix::new();
        let mut observer = matrix.observer();
        observer.audit(&matrix.memory, &Changed::everything()).unwrap();
        let [found] = &observer.newly_hidden()[..] else { panic!("there is one") };
        assert_eq!((found.judged.root.at, found.owner), (UNSEEN.base(), SECOND));
        assert_eq!(
            (&found.evidence["root"], &found.evidence["kind"]),
            (&"0x1e000".into(), &"page-table".into())
        );
        assert_eq!(found.evidence["pages"], 0);
        assert_eq!(matrix.audit(&mut observer, 10), [], "it is known");
    }

    #[test]
    fn memory_is_looked_through_now_and_then() {
        let mut matrix = Matrix::new();
        matrix.entry(UNSEEN, 511, KERNEL_TABLE, 0);
        let mut observer = matrix.observer();
        assert_eq!(matrix.audit(&mut observer, 5), []);
        matrix.entry(UNSEEN, 511, KERNEL_TABLE, 3);
        assert_eq!(matrix.audit(&mut observer, 14), [], "it is not yet time");
        assert_eq!(matrix.audit(&mut observer, 15), [UNSEEN]);
        let mut never =
            Observer::attach(&matrix.memory, INFO_AT, AuditKeys { roots_every: 0, ..AuditKeys::default() })
                .unwrap();
        assert_eq!(matrix.audit(&mut never, 1000), []);
    }

    #[test]
    fn what_it_shares_with_others_is_found_as_well() {
        let mut matrix = Matrix::new();
        matrix.entry(Frame(UNSEEN.0 + 3), 9, PAGE, DATA);
        let mut observer = matrix.observer();
        assert_eq!(matrix.audit(&mut observer, 0), [UNSEEN]);
        let found: Vec<_> = observer.violations().collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].what, found[0].frame), (What::Leak, PAGE));
        assert_eq!(found[0].uncovered().map(|party| party.pid).collect::<Vec<_>>(), [SECOND]);
        // Of its own it may have what it wants.
        matrix.entry(Frame(UNSEEN.0 + 3), 9, Frame(41), DATA);
        matrix.give(Frame(41), FrameKind::User, SECOND);
        assert_eq!(matrix.audit(&mut observer, 1), []);
        assert_eq!(observer.violations().count(), 0);
    }

    #[test]
    fn what_is_left_of_the_dead_is_not_hidden() {
        for kind in [FrameKind::Free, FrameKind::Quarantined, FrameKind::Unused] {
            let mut matrix = Matrix::new();
            matrix.give(UNSEEN, kind, Pid::NONE);
            assert_eq!(matrix.audit(&mut matrix.observer(), 0), []);
        }
    }

    #[test]
    fn a_frame_table_that_calls_the_living_dead_is_not_believed() {
        let mut matrix = Matrix::new();
        matrix.give(UNSEEN, FrameKind::Free, Pid::NONE);
        matrix.publish();
        let keys = AuditKeys { roots_every: 1, ..AuditKeys::default() };
        let mut hidden = Hidden::new(keys, matrix.memory.regions(), KERNEL_ROOT.base());
        let look = |hidden: &mut Hidden, tick| {
            let mut guest = Guest::read(&matrix.memory, INFO_AT).unwrap();
            guest.info.tick = tick;
            hidden.look(&matrix.memory, &guest);
            hidden.take_new().len()
        };
        // Given, and freed: dead indeed. Given and not freed: it is hidden.
        hidden.apply(&record(Kind::Given, FrameKind::PageTable as u32, UNSEEN));
        hidden.apply(&record(Kind::Freed, 0, UNSEEN));
        assert_eq!(look(&mut hidden, 0), 0);
        hidden.apply(&record(Kind::Given, FrameKind::PageTable as u32, UNSEEN));
        assert_eq!(look(&mut hidden, 1), 1);
        // Given for something else meanwhile, without having been wiped.
        hidden.apply(&record(Kind::Given, FrameKind::Buffer as u32, UNSEEN));
        assert_eq!(look(&mut hidden, 2), 0);
    }

    #[test]
    fn what_the_processor_runs_on_is_an_address_space_whatever_it_looks_like() {
        let mut matrix = Matrix::new();
        // With copies of the kernel's upper tables it shares nothing that the scan could know it by.
        matrix.entry(UNSEEN, 511, Frame(50), 3);
        matrix.give(UNSEEN, FrameKind::Free, Pid::NONE);
        let mut observer = matrix.observer();
        assert_eq!(matrix.audit(&mut observer, 0), []);
        observer.processor_has(UNSEEN.base().add(0x18));
        assert_eq!(matrix.audit(&mut observer, 10), [UNSEEN]);
        for named in [SEEN, KERNEL_ROOT] {
            observer.processor_has(named.base());
            assert_eq!(matrix.audit(&mut observer, 20), []);
        }
        // A root that is nowhere is none.
        observer.processor_has(GuestPhys(1 << 40));
        assert_eq!(matrix.audit(&mut observer, 30), []);
    }

    #[test]
    fn one_that_has_ended_is_not_followed_any_further() {
        let mut matrix = Matrix::new();
        let mut observer = matrix.observer();
        assert_eq!(matrix.audit(&mut observer, 0), [UNSEEN]);
        // Its frames are others' now, with what its tables had in them.
        matrix.entry(Frame(UNSEEN.0 + 3), 9, PAGE, DATA);
        matrix.give(UNSEEN, FrameKind::Free, Pid::NONE);
        assert_eq!(matrix.audit(&mut observer, 1), []);
        assert_eq!(observer.violations().count(), 0);
        // Who takes its place is somebody else.
        matrix.give(UNSEEN, FrameKind::PageTable, Pid::new(2, 1));
        assert_eq!(matrix.audit(&mut observer, 10), [UNSEEN]);
    }

    #[test]
    fn a_guest_that_moves_its_kernel_root_hides_nobody() {
        let mut matrix = Matrix::new();
        let mut observer = matrix.observer();
        let other = [0u8; 4096];
        matrix.memory.write(Frame(50).base(), &other).unwrap();
        matrix.publish();
        let at = INFO_AT.add(std::mem::offset_of!(Info, kernel_root) as u64);
        matrix.memory.write(at, &Frame(50).base().0.to_le_bytes()).unwrap();
        observer.audit(&matrix.memory, &Changed::everything()).unwrap();
        let found: Vec<_> =
            observer.newly_hidden().iter().map(|found| found.judged.root.at.frame()).collect();
        assert!(found.contains(&UNSEEN), "{found:?}");
        assert_eq!(matrix.audit(&mut observer, 20), []);
    }
}
