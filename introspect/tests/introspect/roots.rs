//! Roots found in memory: what counts as one, what does not, and their standing by the guest's tables.

use abi::frame::FrameKind;
use abi::process::Descriptor;
use abi::{Frame, GuestPhys, Pid};
use introspect::Paging;
use introspect::matrix::guest::{Guest, Process};
use introspect::matrix::roots::{Standing, judge};
use introspect::x86::paging::bits::{LARGE, NO_EXECUTE, PRESENT, USER, WRITE};
use introspect::x86::roots::{Root, Scan, groups, sharing};
use proptest::prelude::*;
use zerocopy::FromZeros;

use crate::machine::{Machine, RW};

/// How a root names the kernel's tables.
const KERNEL: u64 = PRESENT | WRITE;
const ALLOW: u64 = PRESENT | WRITE | USER;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;

/// A kernel half: the tables that its roots share, by index.
#[derive(Clone)]
struct Kernel(Vec<(u64, Frame)>);

impl Kernel {
    /// Creates tables for these indices, each with one entry.
    fn new(machine: &mut Machine, indices: &[u64]) -> Self {
        let tables = indices.iter().map(|&index| {
            let (table, below) =
                (machine.frame(FrameKind::Kernel, Pid::NONE), machine.frame(FrameKind::Kernel, Pid::NONE));
            machine.put(table.base().add(511 * 8), &(below.base().0 | KERNEL));
            (index, table)
        });
        Self(tables.collect())
    }

    /// Creates a root with this half, and a lower half of one entry.
    fn root(&self, machine: &mut Machine) -> GuestPhys {
        let root = machine.root(Pid::new(1, 0));
        for &(index, table) in &self.0 {
            machine.put(root.add(index * 8), &(table.base().0 | KERNEL));
        }
        let user = machine.frame(FrameKind::PageTable, Pid::NONE);
        machine.put(root, &(user.base().0 | ALLOW));
        root
    }
}

fn frames(machine: &Machine) -> impl Iterator<Item = Frame> + Clone + use<> {
    (0..machine.frames.len() as u64).map(Frame)
}

fn addresses(scan: &Scan) -> Vec<GuestPhys> {
    scan.roots.iter().map(|root| root.at).collect()
}

fn like(machine: &Machine, known: GuestPhys) -> Vec<GuestPhys> {
    addresses(&sharing(&machine.memory, Paging::default(), frames(machine), known))
}

fn unaided(machine: &Machine) -> Vec<Vec<GuestPhys>> {
    groups(&machine.memory, Paging::default(), frames(machine)).iter().map(addresses).collect()
}

#[test]
fn all_roots_of_a_kernel_are_found_with_and_without_a_hint() {
    let mut machine = Machine::new(64);
    let kernel = Kernel::new(&mut machine, &[256, 511]);
    let roots: Vec<_> = (0..5).map(|_| kernel.root(&mut machine)).collect();
    assert_eq!(like(&machine, roots[3]), roots);
    assert_eq!(unaided(&machine), std::slice::from_ref(&roots));
    let scan = sharing(&machine.memory, Paging::default(), frames(&machine), roots[0]);
    assert_eq!(scan.roots[0], Root { at: roots[0], user_entries: 1, kernel_entries: 2 });
    assert!(scan.complete);
}

#[test]
fn bits_that_the_processor_sets_make_no_difference() {
    let mut machine = Machine::new(64);
    let kernel = Kernel::new(&mut machine, &[256, 300, 511]);
    let roots: Vec<_> = (0..4).map(|_| kernel.root(&mut machine)).collect();
    for (root, flags) in roots.iter().zip([0, ACCESSED, DIRTY, ACCESSED | DIRTY]) {
        for index in [256, 511] {
            let entry = root.add(index * 8);
            machine.put(entry, &(machine.get(entry) | flags));
        }
    }
    assert_eq!(like(&machine, roots[1]), roots);
    assert_eq!(unaided(&machine), [roots]);
}

#[test]
fn entries_added_or_spoilt_hide_nobody() {
    let mut machine = Machine::new(64);
    let kernel = Kernel::new(&mut machine, &[256, 300, 511]);
    let roots: Vec<_> = (0..5).map(|_| kernel.root(&mut machine)).collect();
    let own = machine.frame(FrameKind::PageTable, Pid::NONE);
    machine.put(roots[1].add(400 * 8), &(own.base().0 | KERNEL));
    machine.put(roots[2].add(300 * 8), &(own.base().0 | KERNEL));
    // An entry of the lower half with a reserved bit, and one that leads out of memory.
    machine.put(roots[3].add(8), &(own.base().0 | ALLOW | LARGE));
    machine.put(roots[4].add(16), &(1 << 40 | ALLOW));
    assert_eq!(like(&machine, roots[0]), roots);
    // Still, more than half of the kernel's entries must be present.
    machine.put(roots[2].add(256 * 8), &0u64);
    assert!(!like(&machine, roots[0]).contains(&roots[2]));
    // A page with mostly other contents is no root.
    machine.put(roots[4].add(24), &(1 << 41 | ALLOW));
    assert!(!like(&machine, roots[0]).contains(&roots[4]));
}

#[test]
fn two_sets_of_tables_as_page_table_isolation_has_them_are_two_groups() {
    let mut machine = Machine::new(128);
    let kernel = Kernel::new(&mut machine, &[273, 402, 468, 508, 511]);
    let gate = machine.frame(FrameKind::Kernel, Pid::NONE);
    let below = machine.frame(FrameKind::Kernel, Pid::NONE);
    machine.put(gate.base(), &(below.base().0 | KERNEL));
    // The root for ring 3 maps the entry code by a table of its own, and shares one more with the kernel's.
    let outside = Kernel(vec![kernel.0[3], (511, gate)]);
    let mut sets = [vec![], vec![]];
    for _ in 0..6 {
        sets[0].push(kernel.root(&mut machine));
        sets[1].push(outside.root(&mut machine));
    }
    assert_eq!(unaided(&machine), sets, "the kernel's own first");
    assert_eq!(like(&machine, sets[1][2]), sets[1]);
}

#[test]
fn a_root_may_map_itself() {
    let mut machine = Machine::new(64);
    let kernel = Kernel::new(&mut machine, &[256, 511]);
    let roots: Vec<_> = (0..3).map(|_| kernel.root(&mut machine)).collect();
    for root in &roots {
        machine.put(root.add(493 * 8), &(root.0 | KERNEL | NO_EXECUTE));
    }
    assert_eq!(unaided(&machine), std::slice::from_ref(&roots));
    assert_eq!(like(&machine, roots[2]), roots);
}

#[test]
fn page_tables_of_a_fork_are_no_roots() {
    let mut machine = Machine::new(64);
    let pages: Vec<_> = (0..8).map(|_| machine.frame(FrameKind::User, Pid::new(1, 0))).collect();
    for _ in 0..4 {
        let table = machine.frame(FrameKind::PageTable, Pid::NONE).base();
        for index in 0..512 {
            machine.put(table.add(index * 8), &(pages[index as usize % 8].base().0 | RW));
        }
    }
    assert_eq!(unaided(&machine), Vec::<Vec<_>>::new());
    // The kernel's tables that map the same pages: their entries lead to pages that are no tables.
    let text: Vec<u8> = (0..4096).map(|at| at as u8 | 1).collect();
    machine.put(pages[0].base(), text.as_slice());
    for _ in 0..4 {
        let table = machine.frame(FrameKind::PageTable, Pid::NONE).base();
        machine.put(table.add(511 * 8), &(pages[0].base().0 | KERNEL));
    }
    assert_eq!(unaided(&machine), Vec::<Vec<_>>::new());
}

#[test]
fn a_hint_that_is_no_root_finds_nothing() {
    let mut machine = Machine::new(16);
    let kernel = Kernel::new(&mut machine, &[511]);
    kernel.root(&mut machine);
    for hint in [0, 0x3000, 0xf000, 0x1_0000, u64::MAX] {
        let found = like(&machine, GuestPhys(hint));
        assert!(found.iter().all(|root| root.0 == hint & !0xfff), "{hint:#x}: {found:?}");
    }
    assert_eq!(sharing(&machine.memory, Paging::default(), [Frame(u64::MAX)], GuestPhys(0)).roots, []);
}

#[test]
fn a_memory_full_of_roots_ends_in_a_list_with_a_bound() {
    let mut machine = Machine::new(8);
    let kernel = Kernel::new(&mut machine, &[511]);
    let root = kernel.root(&mut machine);
    // Repeating the same frame simulates a memory of that many.
    let frames = std::iter::repeat_n(root.frame(), Scan::MOST_ROOTS + 9);
    let scan = sharing(&machine.memory, Paging::default(), frames.clone(), root);
    assert_eq!((scan.roots.len(), scan.complete), (Scan::MOST_ROOTS, false));
    let groups = groups(&machine.memory, Paging::default(), frames);
    assert_eq!(groups.len(), 1);
    assert!(!groups[0].complete);
}

#[test]
fn the_process_table_and_the_frame_table_say_what_a_root_is() {
    let mut machine = Machine::new(64);
    let kernel = Kernel::new(&mut machine, &[256, 511]);
    let own = kernel.root(&mut machine);
    let kinds = [
        FrameKind::PageTable, // named
        FrameKind::PageTable,
        FrameKind::User,
        FrameKind::Kernel,
        FrameKind::Free,
        FrameKind::Quarantined,
        FrameKind::Unused,
    ];
    let roots: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let root = kernel.root(&mut machine);
            machine.set_fact(root.frame(), *kind, Pid::NONE);
            root
        })
        .collect();
    let pid = Pid::new(3, 1);
    let mut guest = Guest::default();
    guest.info.kernel_root = own;
    let descriptor = Descriptor { pid, root: roots[0].frame().0 as u32, ..Descriptor::new_zeroed() };
    guest.processes.push(Process { frame: Frame(9), descriptor });
    guest.frames.clone_from(&machine.frames);
    // Unknown kinds in the frame table, and a missing table, do not excuse a root.
    guest.frames[roots[3].frame().0 as usize].kind = 99;
    let scan = sharing(&machine.memory, Paging::default(), frames(&machine), own);
    let standings: Vec<_> = judge(&guest, &scan.roots).map(|judged| judged.standing).collect();
    use Standing::{Hidden, Named, Residue};
    assert_eq!(standings, [Named(Pid::NONE), Named(pid), Hidden, Hidden, Hidden, Residue, Residue, Residue]);
    guest.frames.clear();
    assert!(
        judge(&guest, &scan.roots).skip(2).all(|judged| judged.standing == Hidden && judged.kind.is_none())
    );
}

/// A page of a benign or a hostile memory.
#[derive(Clone, Debug)]
enum Page {
    Zero,
    Bytes(u8),
    /// Present entries everywhere, with these bits.
    Entries(u64),
    Root,
}

fn page() -> impl Strategy<Value = Page> {
    prop_oneof![
        2 => Just(Page::Zero),
        2 => any::<u8>().prop_map(Page::Bytes),
        2 => any::<u64>().prop_map(Page::Entries),
        3 => Just(Page::Root),
    ]
}

proptest! {
    #[test]
    fn planted_roots_are_found_among_anything(pages in prop::collection::vec(page(), 1..40)) {
        let mut machine = Machine::new(160);
        let kernel = Kernel::new(&mut machine, &[256, 384, 511]);
        let known = kernel.root(&mut machine);
        let mut planted = vec![known];
        for page in pages {
            let at = match page {
                Page::Root => {
                    planted.push(kernel.root(&mut machine));
                    continue;
                }
                _ => machine.frame(FrameKind::User, Pid::NONE).base(),
            };
            for index in 0..512u64 {
                let word = match page {
                    Page::Zero | Page::Root => 0,
                    Page::Bytes(byte) => u64::from_ne_bytes([byte; 8]),
                    Page::Entries(bits) => bits.rotate_left(index as u32) | PRESENT,
                };
                machine.put(at.add(index * 8), &word);
            }
        }
        prop_assert_eq!(like(&machine, known), planted.clone());
        let groups = unaided(&machine);
        prop_assert_eq!(groups.contains(&planted), planted.len() > 1, "{:?}", groups);
    }

    #[test]
    fn any_memory_is_survived(words in prop::collection::vec(any::<u64>(), 512..2048), repeat in 1..4usize, known in 0..9u64) {
        let words = words.repeat(repeat);
        let memory: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let frames = (0..memory.len() as u64 / 4096 + 2).map(Frame);
        for paging in [Paging::default(), Paging { no_execute: false, physical_bits: 36, five_levels: true }] {
            let scan = sharing(&memory, paging, frames.clone(), GuestPhys(known * 4096));
            prop_assert!(scan.complete && scan.roots.len() <= frames.clone().count());
            let groups = groups(&memory, paging, frames.clone());
            prop_assert!(groups.len() <= Scan::MOST_GROUPS);
            let mut all: Vec<_> = groups.iter().flat_map(addresses).collect();
            let listed = all.len();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), listed, "a root is in one group");
        }
    }
}
