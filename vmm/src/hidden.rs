//! Hidden address spaces: roots of page tables that lie in memory, while no entry of the process table names them. It is how
//! a process looks from outside that a rootkit has taken off the list.
//!
//! Every so many ticks an audit looks through all of memory for roots ([`introspect::roots`]). A root that is nobody's is what
//! is left of a dead process, or hidden. The frame table tells which; but the frame table is memory, and who can write the
//! process table can write that one too. So it must be confirmed by what the trace has said: only a frame that the kernel has
//! reported as freed can be a dead man's. Records that were taken cannot be taken back. The root that everything is compared
//! with is the one that the guest had at its first word, before anybody could have tampered with it.

use std::collections::BTreeSet;

use abi::frame::FrameKind;
use abi::process::Descriptor;
use abi::trace::{Kind, Record};
use abi::{Frame, GuestPhys, Pid};
use introspect::memory::PhysicalMemory;
use introspect::paging::Paging;
use introspect::roots::{self, Judged, Root, Standing};
use introspect::space::{Guest, Space};
use introspect::walk::{Budget, Mapping};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::events::pid;
use crate::memory::GuestMemory;

/// How often what is looked for, see `scenarios/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AuditKeys {
    /// Ticks between two scans for hidden address spaces; 0 for none.
    pub roots_every: u64,
}

impl Default for AuditKeys {
    fn default() -> Self {
        Self { roots_every: 16 }
    }
}

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
    pub found: u64,
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

    /// For a guest whose kernel has its own address space at `kernel_root`.
    pub fn new(keys: AuditKeys, kernel_root: GuestPhys) -> Self {
        Self { every: keys.roots_every, kernel_root, ..Self::default() }
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

    /// Part of an audit, with the guest's tables as just read: looks after the spaces that it knows of, and, when it is
    /// time, through all of memory.
    pub fn look(&mut self, memory: &GuestMemory, guest: &Guest) {
        let now = guest.info.tick;
        if self.every != 0 && now >= self.due {
            self.due = now.saturating_add(self.every);
            let frames = memory.regions().flat_map(|region| {
                (region.start.frame().0..region.start.add(region.bytes).frame().0).map(Frame)
            });
            self.take_stock(memory, guest, frames);
        } else if !self.spaces.is_empty() {
            // One that has ended leaves frames that become other people's: its tables must not be followed any further.
            let frames: Vec<_> = self.spaces.iter().map(|space| space.root.frame()).collect();
            self.take_stock(memory, guest, frames);
        }
    }

    fn take_stock(&mut self, memory: &GuestMemory, guest: &Guest, frames: impl IntoIterator<Item = Frame>) {
        let scan = roots::sharing(memory, Paging::default(), frames, self.kernel_root);
        self.spaces.clear();
        for judged in roots::judge(guest, &scan.roots) {
            let Judged { root: Root { at, .. }, standing, .. } = judged;
            let dead = standing == Standing::Residue && !self.tables.contains(&at.frame());
            if dead || matches!(standing, Standing::Named(_)) {
                // If it is hidden later it is so anew.
                self.known.remove(&at);
                continue;
            }
            let owner = guest.fact(at.frame()).map_or(Pid::NONE, |fact| fact.owner);
            self.spaces.push(Space { pid: owner, root: at });
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
fn evidence(memory: &GuestMemory, guest: &Guest, judged: Judged, owner: Pid) -> Value {
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
fn descriptor(memory: &GuestMemory, guest: &Guest, owner: Pid) -> Option<(Frame, Descriptor)> {
    let mut frames = (0..).map(Frame).zip(&guest.frames);
    let (frame, _) = frames.find(|(_, fact)| {
        owner != Pid::NONE && fact.owner == owner && fact.kind == FrameKind::Descriptor as u8
    })?;
    let descriptor: Descriptor = memory.read_value(frame.base()).ok()?;
    (descriptor.pid == owner).then_some((frame, descriptor))
}
