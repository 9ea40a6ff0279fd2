//! Finds address spaces in memory itself: every page that looks like the root of page tables.
//!
//! All address spaces of a kernel share its half: the upper 256 entries of their roots lead to the same
//! tables. So a page is a root if its upper half is that of a known root ([`sharing`]). Where no root is
//! known, as in the dump of an unknown guest, the upper half that most pages have in common is the kernel's
//! ([`groups`]). The same holds for five levels. (The halves: Intel SDM vol. 1, 3.3.7.1.)
//!
//! The rules are loose where a rootkit could evade them, and strict where they only exclude chance:
//!
//! - Accessed and dirty bits are ignored. More than half of the kernel's entries must equal the known root's,
//!   and in the lower half at least as many entries must be sound as are not: an added or damaged entry hides
//!   no address space.
//! - A root must have the known root's highest kernel entry, which makes the scan fast. The scan does not
//!   find an address space with copies of the kernel's upper tables, at other addresses and with the same
//!   contents. The processor reveals it: CR3 holds its root whenever it runs, and [`inspect`] makes a
//!   [`Root`] of that.
//! - A process that knows the kernel's entries, which are no secret, can write a page that looks like a root
//!   into its own memory. The result is a false alarm, never a missed root.

use std::collections::BTreeSet;

use address::{Frame, GuestPhys};

use crate::x86::memory::{PhysicalMemory, Table};
use crate::x86::paging::{Entry, Paging, bits};

/// The processor sets these bits by itself; the second has no meaning in an entry that leads to a table.
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;
/// Index of the first entry of the kernel's half.
const KERNEL_HALF: usize = 256;
/// Physical addresses have at most 52 bits.
const MOST_FRAME: u64 = 1 << 40;

/// A page that looks like the root of page tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Root {
    /// Its address.
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
    /// Whether these are all: a scan stops at [`Scan::MOST_ROOTS`].
    pub complete: bool,
}

impl Scan {
    /// Largest number of roots that one scan lists: more than a guest can have processes.
    pub const MOST_ROOTS: usize = 1 << 17;
    /// Largest number of pages that [`groups`] reads more than once: those whose highest entry could be a
    /// kernel's. If there are more, its scans are not complete.
    pub const MOST_LIKELY: usize = 1 << 22;
    /// Largest number of kernel halves that [`groups`] distinguishes. A kernel has one, or two if it keeps a
    /// second set of page tables for ring 3 (Linux's page-table isolation).
    pub const MOST_GROUPS: usize = 4;
}

/// Scans `frames` for roots that share the kernel's half with the root at `known`, which is one of them.
/// Returns none if there is no memory at `known`, or it has no kernel half.
///
/// Reads one word of each frame, and the whole page where that word matches.
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
    // Every kernel has the highest entry: its image is linked at the top.
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

/// Describes the page at `at` as a root, whatever it holds. For a page that is known to be a root, because a
/// processor uses it.
pub fn inspect<M: PhysicalMemory + ?Sized>(mem: &M, paging: Paging, at: GuestPhys) -> Option<Root> {
    let at = GuestPhys(at.0 & bits::ADDRESS);
    let mut page = [0; 512];
    Some(Sights::of(mem, paging, mem.table(at, &mut page).ok()?).root(at))
}

/// Scans `frames` for roots without a known one: finds the kernel halves that most pages have in common, and
/// for each the roots that share it. The first is normally the guest's kernel: it has the most roots; of two
/// with equally many it has the more entries. A guest with a single address space shares nothing and is not
/// found.
///
/// The kernel must be at the top of the address space, where its code model places it (System V psABI for
/// x86-64, 3.5.1).
pub fn groups<M, F>(mem: &M, paging: Paging, frames: F) -> Vec<Scan>
where
    M: PhysicalMemory + ?Sized,
    F: IntoIterator<Item = Frame>,
{
    // Only these can share a half with a root: the rest of memory is read once.
    let mut frames = frames.into_iter().filter(|frame| top_table(mem, paging, *frame).is_some());
    let mut likely: Vec<_> = frames.by_ref().take(Scan::MOST_LIKELY).collect();
    let complete = frames.next().is_none();
    let looked_at = likely.iter().filter_map(|frame| Candidate::inspect(mem, paging, *frame));
    let mut candidates: Vec<_> = looked_at.collect();
    candidates.sort_unstable();
    let mut groups = Vec::new();
    while groups.len() < Scan::MOST_GROUPS {
        let classes = candidates.chunk_by(|a, b| (a.kernel_entries, a.half) == (b.kernel_entries, b.half));
        // The first of several equal ones.
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

/// Returns the table that the highest entry of a page leads to, if that entry could be a kernel's.
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

/// A page that is a plausible root, as far as its own contents show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Candidate {
    kernel_entries: u16,
    /// A hash of the kernel's half.
    half: u64,
    frame: Frame,
}

impl Candidate {
    fn inspect<M: PhysicalMemory + ?Sized>(mem: &M, paging: Paging, frame: Frame) -> Option<Self> {
        let below = top_table(mem, paging, frame)?;
        let at = frame.base();
        let mut page = [0; 512];
        let table = mem.table(at, &mut page).ok()?;
        let sights = Sights::of(mem, paging, table);
        // A page table of level 1 also has entries that look like a root's. But those of a process let ring 3
        // through, and lead to pages that are no page tables.
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
                // The kernel may map addresses that are not memory.
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

/// Counts of a page's entries, taken as a root's.
#[derive(Clone, Copy, Default)]
struct Sights {
    /// Present entries of the lower half that lead to tables in memory, and those that do not.
    user: u16,
    user_bad: u16,
    /// Present entries of the upper half; those among them that lead nowhere, and that let ring 3 through.
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

/// Returns the kernel's half of the root at `at`, in comparable form.
fn half(table: &Table, at: GuestPhys) -> [u64; 512 - KERNEL_HALF] {
    std::array::from_fn(|index| canonical(table[KERNEL_HALF + index], at))
}

/// Returns an entry without the parts that may differ between roots that share it: accessed and dirty bits,
/// and the address of an entry that leads back to the root itself (a kernel that maps its own tables has one
/// in each root).
const fn canonical(value: u64, root: GuestPhys) -> u64 {
    let value = value & !ACCESSED_DIRTY;
    if value & bits::ADDRESS == root.0 { value & !bits::ADDRESS } else { value }
}
