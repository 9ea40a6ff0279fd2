//! Finds address spaces in memory itself: every page that looks like the root of page tables.
//!
//! All address spaces of a kernel share its half: the upper 256 entries of their roots lead to the same tables. So a page
//! is a root if its upper half is that of a known root ([`sharing`]). Where none is known, as in the dump of a foreign
//! guest, the upper half that most pages have in common is the kernel's ([`groups`]). With 5 levels the root's upper half
//! is the kernel's as well. (The halves: Intel SDM vol. 1, 3.3.7.1.)
//!
//! The rules are loose where a rootkit could slip through, and strict where only chance has to be kept out:
//!
//! - Accessed and dirty bits do not count. More than half of the kernel's entries must be the known root's, and of the
//!   lower half as many must make sense as do not: an added or damaged entry hides no address space.
//! - A root must have the known root's highest kernel entry, which makes the scan fast. An address space with copies of
//!   the kernel's upper tables, at other addresses and with the same contents, is not found by this scan. The processor
//!   reveals it: CR3 has its root whenever it runs, and [`look`] makes a [`Root`] of that.
//! - A process that knows the kernel's entries, which are no secret, can write a page that looks like a root into its own
//!   memory. That is a false alarm, never a missed root.

use std::collections::BTreeSet;

use address::{Frame, GuestPhys};

use crate::x86::memory::{PhysicalMemory, Table};
use crate::x86::paging::{Entry, Paging, bits};

/// Set by the processor whenever it likes; in an entry that leads to a table the second has no meaning at all.
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;
/// Where the kernel's half of a root begins.
const KERNEL_HALF: usize = 256;
/// Physical addresses have at most 52 bits.
const MOST_FRAME: u64 = 1 << 40;

/// A page that looks like the root of page tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Root {
    /// Where it is.
    pub at: GuestPhys,
    /// Entries of the lower half that lead to tables; 0 for a kernel's own address space.
    pub user_entries: u16,
    /// Entries of the upper half that are present.
    pub kernel_entries: u16,
}

/// Roots that share a kernel half.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Scan {
    /// The roots, in the order in which the frames were given.
    pub roots: Vec<Root>,
    /// Whether there are no more: a scan stops at [`Scan::MOST_ROOTS`].
    pub complete: bool,
}

impl Scan {
    /// Most roots that one scan lists: more than a guest can have processes.
    pub const MOST_ROOTS: usize = 1 << 17;
    /// Most pages that [`groups`] looks at more than once: those whose highest entry could be a kernel's. Where there are
    /// more, its scans are not complete.
    pub const MOST_LIKELY: usize = 1 << 22;
    /// Most kernel halves that [`groups`] tells apart. A kernel has one, or two if it keeps a second set of page tables for
    /// ring 3 (Linux's page-table isolation).
    pub const MOST_GROUPS: usize = 4;
}

/// Looks through `frames` for roots that share the kernel's half with the root at `known`, which is one of them. If there is
/// no memory at `known`, or it has no kernel half, there are none.
///
/// Reads one word of each frame, and the whole page where that word is right.
pub fn sharing<M: PhysicalMemory + ?Sized>(
    mem: &M,
    paging: Paging,
    frames: impl IntoIterator<Item = Frame>,
    known: GuestPhys,
) -> Scan {
    let mut scan = Scan { roots: Vec::new(), complete: true };
    let known = GuestPhys(known.0 & bits::ADDRESS);
    let mut page = [0; 512];
    let Ok(table) = mem.table(known, &mut page) else { return scan };
    let kernel = half(table, known);
    // The highest entry is the one that every kernel has: the image is linked at the top.
    let Some(top) = kernel.iter().rposition(|entry| entry & bits::PRESENT != 0) else { return scan };
    let present = kernel.iter().filter(|entry| **entry & bits::PRESENT != 0).count();
    let offset = ((KERNEL_HALF + top) * 8) as u64;
    for frame in frames {
        if frame.0 >= MOST_FRAME {
            continue;
        }
        let at = frame.base();
        match mem.read_u64(at.add(offset)) {
            Ok(word) if canonical(word, at) == kernel[top] => {}
            _ => continue,
        }
        let Ok(table) = mem.table(at, &mut page) else { continue };
        let here = half(table, at);
        let alike = here.iter().zip(&kernel).filter(|(a, b)| **b & bits::PRESENT != 0 && a == b).count();
        let sights = Sights::of(mem, paging, table);
        if alike * 2 <= present || sights.user_bad > sights.user {
            continue;
        }
        if scan.roots.len() == Scan::MOST_ROOTS {
            scan.complete = false;
            break;
        }
        scan.roots.push(sights.root(at));
    }
    scan
}

/// What a page looks like as a root, whatever is in it; for one that is a root for sure, because a processor uses it.
pub fn look<M: PhysicalMemory + ?Sized>(mem: &M, paging: Paging, at: GuestPhys) -> Option<Root> {
    let at = GuestPhys(at.0 & bits::ADDRESS);
    let mut page = [0; 512];
    Some(Sights::of(mem, paging, mem.table(at, &mut page).ok()?).root(at))
}

/// Looks through `frames` for roots without a hint: finds the kernel halves that most pages have in common, and for each
/// the roots that share it. The first is the guest's kernel as a rule: it has the most roots, and of two with as many the one
/// with more in it. A guest with one address space has nothing in common with anybody, and is not found.
///
/// The kernel must be at the top of the address space, where its code model has it (System V psABI for x86-64, 3.5.1).
pub fn groups<M, F>(mem: &M, paging: Paging, frames: F) -> Vec<Scan>
where
    M: PhysicalMemory + ?Sized,
    F: IntoIterator<Item = Frame>,
{
    // Only these can share anything with a root that is at the top: the rest of the memory is read once.
    let mut frames = frames.into_iter().filter(|frame| top_table(mem, paging, *frame).is_some());
    let mut likely: Vec<_> = frames.by_ref().take(Scan::MOST_LIKELY).collect();
    let complete = frames.next().is_none();
    let looked_at = likely.iter().filter_map(|frame| Candidate::look(mem, paging, *frame));
    let mut candidates: Vec<_> = looked_at.collect();
    candidates.sort_unstable();
    let mut groups = Vec::new();
    while groups.len() < Scan::MOST_GROUPS {
        let classes = candidates.chunk_by(|a, b| (a.kernel_entries, a.half) == (b.kernel_entries, b.half));
        // Of several equals the first.
        let best = classes
            .rev()
            .filter(|class| class.len() > 1)
            .max_by_key(|class| (class.len(), class.first().map(|candidate| candidate.kernel_entries)));
        let Some(reference) = best.and_then(|class| class.first()).map(|candidate| candidate.frame) else {
            break;
        };
        let mut scan = sharing(mem, paging, likely.iter().copied(), reference.base());
        scan.complete &= complete;
        let found: BTreeSet<_> = scan.roots.iter().map(|root| root.at.frame()).collect();
        likely.retain(|frame| !found.contains(frame));
        candidates.retain(|candidate| candidate.frame != reference && !found.contains(&candidate.frame));
        groups.push(scan);
    }
    groups
}

/// The table that the highest entry of a page leads to, if that entry could be a kernel's.
fn top_table<M: PhysicalMemory + ?Sized>(mem: &M, paging: Paging, frame: Frame) -> Option<GuestPhys> {
    const TOP: u64 = 511 * 8;
    if frame.0 >= MOST_FRAME {
        return None;
    }
    let value = mem.read_u64(frame.base().add(TOP)).ok()?;
    match paging.decode(value, paging.root_level()) {
        Entry::Table(below) if value & bits::USER == 0 && mem.has_frame(below.frame()) => Some(below),
        _ => None,
    }
}

/// A page that makes sense as a root in every way that can be seen from it alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Candidate {
    kernel_entries: u16,
    /// A hash of the kernel's half.
    half: u64,
    frame: Frame,
}

impl Candidate {
    fn look<M: PhysicalMemory + ?Sized>(mem: &M, paging: Paging, frame: Frame) -> Option<Self> {
        let below = top_table(mem, paging, frame)?;
        let at = frame.base();
        let mut page = [0; 512];
        let table = mem.table(at, &mut page).ok()?;
        let sights = Sights::of(mem, paging, table);
        // A page table of the lowest level also has entries that look like a root's. But where it is a process's ring 3 has
        // its pages, and what its entries lead to is no page table.
        if sights.user_bad + sights.kernel_bad != 0 || sights.kernel_open * 2 > sights.kernel {
            return None;
        }
        let half = half(table, at)
            .iter()
            .fold(0u64, |hash, entry| (hash.rotate_left(5) ^ entry).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut present, mut page) = (0, [0; 512]);
        for &value in mem.table(below, &mut page).ok()? {
            let sound = match paging.decode(value, paging.root_level() - 1) {
                Entry::Absent => continue,
                Entry::Table(next) => mem.has_frame(next.frame()),
                // The kernel may map what is not memory.
                Entry::Leaf(..) => true,
                Entry::Reserved => false,
            };
            if !sound {
                return None;
            }
            present += 1;
        }
        (present != 0).then_some(Self { kernel_entries: sights.kernel, half, frame })
    }
}

/// What a page's entries look like, taken as a root's.
#[derive(Clone, Copy, Default)]
struct Sights {
    /// Present entries of the lower half that lead to tables in memory; those that do not.
    user: u16,
    user_bad: u16,
    /// Present entries of the upper half; those that lead nowhere; those that let ring 3 through.
    kernel: u16,
    kernel_bad: u16,
    kernel_open: u16,
}

impl Sights {
    fn of<M: PhysicalMemory + ?Sized>(mem: &M, paging: Paging, table: &Table) -> Self {
        let mut sights = Self::default();
        for (index, &value) in table.iter().enumerate().filter(|(_, value)| *value & bits::PRESENT != 0) {
            let sound = matches!(paging.decode(value, paging.root_level()), Entry::Table(at) if mem.has_frame(at.frame()));
            if index < KERNEL_HALF {
                sights.user += u16::from(sound);
                sights.user_bad += u16::from(!sound);
            } else {
                sights.kernel += 1;
                sights.kernel_bad += u16::from(!sound);
                sights.kernel_open += u16::from(value & bits::USER != 0);
            }
        }
        sights
    }

    const fn root(self, at: GuestPhys) -> Root {
        Root { at, user_entries: self.user, kernel_entries: self.kernel }
    }
}

/// The kernel's half of the root at `at`, in a form that can be compared.
fn half(table: &Table, at: GuestPhys) -> [u64; 512 - KERNEL_HALF] {
    std::array::from_fn(|index| canonical(table[KERNEL_HALF + index], at))
}

/// An entry without what may differ between roots that share it: accessed and dirty bits, and the address where the
/// entry leads back to the root itself (a kernel that maps its own tables has one such in each root).
const fn canonical(value: u64, root: GuestPhys) -> u64 {
    let value = value & !ACCESSED_DIRTY;
    if value & bits::ADDRESS == root.0 { value & !bits::ADDRESS } else { value }
}
