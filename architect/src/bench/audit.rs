//! What an audit costs, on a guest with two hundred processes that stands still.
//!
//! `audit-full` is an audit that begins with nothing: the guest's tables, every page table, the reverse map, the verdict.
//! Its floor reads each of those page-table pages once, into a page of its own, over and over. For `audit-delta` a page is taken from a process,
//! or given back, in 1 % of the page-table pages, each time others; the audit is told which pages were written, as KVM's
//! log tells it. Its floor reads those pages once.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

use abi::{Frame, GuestPhys};
use introspect::Changed;
use introspect::x86::memory::PhysicalMemory;

use super::crowd::Crowd;
use super::measure::{Row, in_turns};
use crate::analysis::observer::Observer;
use crate::error::{Error, VmmError};
use vmm::host::kvm::Kvm;
use vmm::host::memory::GuestMemory;

const FULL: usize = 500;
const DELTA: usize = 4000;

/// Measures both.
pub(super) fn measure(kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let Crowd { machine, mut observer } = Crowd::gather(kvm)?;
    let memory = machine.memory();
    audit(&mut observer, memory, &Changed::everything())?;
    let tables: BTreeSet<Frame> = observer.map().table_pages().map(|(table, _)| table.frame).collect();
    let tables: Vec<Frame> = tables.into_iter().collect();

    let full = in_turns(
        "audit-full",
        FULL,
        || Ok(()),
        |()| {
            observer.forget();
            audit(&mut observer, memory, &Changed::everything())
        },
        |()| {
            read(memory, &tables);
            Ok(())
        },
    )?;

    let mut takings = Takings::of(&observer, memory);
    let changes = tables.len().div_ceil(100);
    let delta = in_turns(
        "audit-delta",
        DELTA,
        || {
            let tables = takings.change(memory, changes);
            let mut changed = Changed::nothing();
            tables.iter().for_each(|table| changed.add(*table));
            Ok((tables, changed))
        },
        |(_, changed)| audit(&mut observer, memory, &changed),
        |(tables, _)| {
            read(memory, &tables);
            Ok(())
        },
    )?;
    Ok(vec![full, delta])
}

fn audit(observer: &mut Observer, memory: &GuestMemory, changed: &Changed) -> Result<(), Error> {
    observer.audit(memory, changed).map_err(|error| VmmError::Probe(error.to_string()).into())
}

/// Reads these pages, once.
fn read(memory: &GuestMemory, tables: &[Frame]) {
    let mut page = [0; 512];
    for table in tables {
        // They were read before, so they are there.
        let _ = memory.read_table(table.base(), &mut page);
        black_box(&page);
    }
}

/// Pages that can be taken from their processes: for each table of the lowest level its entries, and their values.
struct Takings {
    entries: Vec<(Frame, Vec<(GuestPhys, u64)>)>,
    random: u64,
}

impl Takings {
    fn of(observer: &Observer, memory: &GuestMemory) -> Self {
        let mut entries = BTreeMap::<Frame, Vec<_>>::new();
        for mapped in observer.map().mapped() {
            let at = mapped.entry();
            let value = memory.read_u64(at).unwrap_or_default();
            entries.entry(at.frame()).or_default().push((at, value));
        }
        Self { entries: entries.into_iter().collect(), random: 1 }
    }

    /// Takes a page away, or gives it back, in so many tables; gives these.
    fn change(&mut self, memory: &GuestMemory, count: usize) -> Vec<Frame> {
        let mut tables = BTreeSet::new();
        while tables.len() < count.min(self.entries.len()) {
            let nth = self.random() as usize % self.entries.len();
            let which = self.random() as usize;
            let (table, entries) = &self.entries[nth];
            if !tables.insert(*table) {
                continue;
            }
            let (at, value) = entries[which % entries.len()];
            let now = memory.read_u64(at).unwrap_or_default();
            // The entries were read from there, so it is memory.
            let _ = memory.write(at, &(if now == 0 { value } else { 0 }).to_le_bytes());
        }
        tables.into_iter().collect()
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}
