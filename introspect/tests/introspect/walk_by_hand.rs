//! The walk on tables whose every entry is known.

use abi::{Frame, GuestPhys, GuestVirt};
use introspect::x86::paging::bits::{PRESENT, USER, WRITE};
use introspect::x86::walk::{BadEntry, Cycle, Truncated, Why};
use introspect::x86::{Budget, Half, Mapping, NotMapped, PageSize, Paging, Rights, WalkSummary};

use crate::machine::{LARGE, Machine, NO_EXECUTE, RO, RW, RX};

const PAGING: Paging = Paging { no_execute: true, physical_bits: 52, five_levels: false };
const KERNEL: u64 = 0xffff_8000_0000_0000;

fn walk(machine: &Machine, root: GuestPhys, half: Half) -> (Vec<Mapping>, WalkSummary) {
    let mut mappings = Vec::new();
    let summary =
        PAGING.walk(&machine.memory, root, half, Budget::default(), &mut |mapping| mappings.push(mapping));
    (mappings, summary)
}

fn mapped(machine: &Machine, root: GuestPhys, half: Half) -> Vec<(u64, u64)> {
    walk(machine, root, half).0.iter().map(|mapping| (mapping.virt.0, mapping.frame.0)).collect()
}

#[test]
fn leaves_come_in_rising_order_from_the_half_that_is_asked_for() {
    let mut machine = Machine::new(64);
    let root = machine.root(abi::Pid::NONE);
    for virt in [KERNEL + 0x5000, 0x40_0000, u64::MAX - 4095, (1 << 47) - 4096, 0x1000] {
        machine.map(root, GuestVirt(virt), Frame(1), RW);
    }
    let low = [(0x1000, 1), (0x40_0000, 1), ((1 << 47) - 4096, 1)];
    let high = [(KERNEL + 0x5000, 1), (u64::MAX - 4095, 1)];
    assert_eq!(mapped(&machine, root, Half::User), low);
    assert_eq!(mapped(&machine, root, Half::Kernel), high);
    assert_eq!(mapped(&machine, root, Half::Both), [&low[..], &high[..]].concat());
    // The low bits of CR3 are flags and a PCID.
    assert_eq!(mapped(&machine, GuestPhys(root.0 | 0xfff), Half::User), low);
}

#[test]
fn pages_of_all_sizes_are_found_and_translated() {
    let mut machine = Machine::new(1024);
    let root = machine.root(abi::Pid::NONE);
    let small = machine.map(root, GuestVirt(0x40_0000), Frame(9), RX);
    let large = machine.entry(root, 0x60_0000, 2);
    machine.put(large, &(0x20_0000 | LARGE | RW));
    // A huge page that starts in memory and extends far beyond it, as in a direct map.
    let huge = machine.entry(root, KERNEL, 3);
    machine.put(huge, &(LARGE | PRESENT | WRITE));
    let (mappings, summary) = walk(&machine, root, Half::Both);
    assert!(summary.is_clean());
    let expected = [
        (0x40_0000, 9, PageSize::Small, Rights { write: false, user: true, execute: true }, small),
        (0x60_0000, 512, PageSize::Large, Rights { write: true, user: true, execute: false }, large),
        (KERNEL, 0, PageSize::Huge, Rights { write: true, user: false, execute: true }, huge),
    ]
    .map(|(virt, frame, size, rights, entry)| Mapping {
        virt: GuestVirt(virt),
        frame: Frame(frame),
        size,
        rights,
        entry,
    });
    assert_eq!(mappings, expected);
    for (mapping, offset) in expected.into_iter().zip([0x123, 0x12_3456, 0x3765_4321]) {
        let found = PAGING.translate(&machine.memory, root, mapping.virt.add(offset)).unwrap();
        assert_eq!(found.mapping, mapping);
        assert_eq!(found.phys, mapping.frame.base().add(offset));
    }
}

#[test]
fn one_level_without_consent_takes_the_right_away() {
    let mut machine = Machine::new(16);
    let root = machine.root(abi::Pid::NONE);
    let virt = GuestVirt(0x40_0000);
    machine.map(root, virt, Frame(1), PRESENT | USER | WRITE);
    for level in 1..=4 {
        let entry = machine.entry(root, virt.0, level);
        let value = machine.get(entry);
        let rights = |machine: &Machine| walk(machine, root, Half::User).0[0].rights;
        for (bit, expected) in [
            (USER, Rights { user: false, ..Rights::ALL }),
            (WRITE, Rights { write: false, ..Rights::ALL }),
            (NO_EXECUTE, Rights { execute: false, ..Rights::ALL }),
        ] {
            machine.put(entry, &(value ^ bit));
            assert_eq!(rights(&machine), expected, "level {level} bit {bit:#x}");
        }
        machine.put(entry, &value);
    }
}

#[test]
fn only_what_ring_3_can_use_is_visited_on_request() {
    let mut machine = Machine::new(32);
    let root = machine.root(abi::Pid::NONE);
    machine.map(root, GuestVirt(0x1000), Frame(1), RO);
    machine.map(root, GuestVirt(0x2000), Frame(1), RO & !USER);
    let reachable = machine.map(root, GuestVirt(KERNEL + 0x1000), Frame(1), RO);
    machine.map(root, GuestVirt(u64::MAX - 4095), Frame(1), RO);
    let top = machine.entry(root, u64::MAX, 4);
    machine.put(top, &(machine.get(top) & !USER));
    let mut entries = Vec::new();
    let summary = PAGING
        .walk_ring3(&machine.memory, root, Budget::default(), &mut |m| entries.push((m.virt.0, m.entry)));
    assert_eq!(entries.last(), Some(&(KERNEL + 0x1000, reachable)));
    // The root, and three tables for each of the two reachable pages; the three for the last are not read.
    assert_eq!((entries.len(), summary.tables), (2, 7));
}

#[test]
fn entries_that_lead_nowhere_are_described_and_left() {
    let mut machine = Machine::new(16);
    let root = machine.root(abi::Pid::NONE);
    let good = machine.map(root, GuestVirt(0x40_0000), Frame(1), RW);
    let outside = machine.map(root, GuestVirt(0x40_1000), Frame(16), RW);
    let table = machine.entry(root, 0x60_0000, 2);
    machine.put(table, &(0xf_ffff_ffff_f000 | RW));
    let reserved = machine.entry(root, 1 << 39, 4);
    machine.put(reserved, &(LARGE | RW));
    let (mappings, summary) = walk(&machine, root, Half::User);
    assert_eq!(mappings.iter().map(|m| m.entry).collect::<Vec<_>>(), [good]);
    assert_eq!((summary.holes, summary.reserved, summary.tables), (2, 1, 5));
    let bad = |level, entry, virt, why| BadEntry {
        level,
        entry,
        value: machine.get(entry),
        virt: GuestVirt(virt),
        why,
    };
    let expected = [
        bad(1, outside, 0x40_1000, Why::PageOutside),
        bad(2, table, 0x60_0000, Why::TableOutside),
        bad(4, reserved, 1 << 39, Why::Reserved),
    ];
    assert_eq!(summary.described, expected);
    for BadEntry { level, entry, virt, why, .. } in expected {
        let found = PAGING.translate(&machine.memory, root, virt);
        assert_eq!(found, Err(NotMapped { level, entry, why }));
    }
}

#[test]
fn many_bad_entries_are_counted_but_only_a_few_described() {
    let mut machine = Machine::new(16);
    let root = machine.root(abi::Pid::NONE);
    machine.put(root, &[u64::MAX; 512]);
    let (mappings, summary) = walk(&machine, root, Half::Both);
    assert!(mappings.is_empty());
    assert_eq!((summary.reserved, summary.described.len()), (512, WalkSummary::DESCRIBED));
}

#[test]
fn addresses_that_cannot_be_followed_are_refused() {
    let machine = Machine::new(4);
    let translate =
        |root, virt| PAGING.translate(&machine.memory, GuestPhys(root), GuestVirt(virt)).unwrap_err();
    let refusal = |entry, why| NotMapped { level: 4, entry: GuestPhys(entry), why };
    assert_eq!(translate(0x1000, 0x1234), refusal(0x1000, Why::Absent));
    assert_eq!(translate(0x1000, KERNEL), refusal(0x1800, Why::Absent));
    for virt in [1 << 47, KERNEL - 1, 1 << 63] {
        assert_eq!(translate(0x1000, virt), refusal(0x1000, Why::NotCanonical));
    }
    assert_eq!(translate(0x4000, 0), refusal(0x4000, Why::RootOutside));
    let (mappings, summary) = walk(&machine, GuestPhys(0x4000), Half::Both);
    assert_eq!((mappings.len(), summary.described[0].why), (0, Why::RootOutside));
}

#[test]
fn a_table_that_contains_itself_ends_at_the_budget_and_is_named() {
    let mut machine = Machine::new(2);
    machine.put(GuestPhys(0x1000), &[0x1000 | RW; 512]);
    let root = GuestPhys(0x1000);
    let cycle = Cycle { level: 4, entry: root, virt: GuestVirt(0), table: root, above: 4, user: true };
    for (budget, at, cycle) in [
        // Root, level 3, level 2, and seven tables of level 1: the eighth is cut.
        (Budget { tables: 10, leaves: 1 << 20 }, 7 << 21, Some(cycle)),
        (Budget { tables: 1 << 20, leaves: 1000 }, 1000 << 12, Some(cycle)),
        (Budget { tables: 0, leaves: 0 }, 0, None),
        (Budget { tables: 4, leaves: 0 }, 0, Some(cycle)),
    ] {
        let mut leaves = 0;
        let summary = PAGING.walk(&machine.memory, root, Half::User, budget, &mut |_| leaves += 1);
        assert_eq!(summary.truncated, Some(Truncated { at: GuestVirt(at), cycle }), "{budget:?}");
        assert!(summary.tables <= budget.tables && leaves <= budget.leaves && leaves == summary.leaves);
        assert_eq!(summary.described_cycles, Vec::from_iter(cycle));
        assert!(!summary.is_clean() && summary.self_map().is_none());
    }
    assert_eq!(
        cycle.to_string(),
        "the level 4 entry at 0x1000, for 0x0 and on, names the table at 0x1000 again, which is the level 4 table above it"
    );
}

#[test]
fn a_kernels_self_map_is_followed_and_told_apart() {
    let mut machine = Machine::new(16);
    let root = machine.root(abi::Pid::NONE);
    machine.map(root, GuestVirt(0x40_0000), Frame(9), RX);
    let before = walk(&machine, root, Half::Both).0.len();
    // As in Windows 7: entry 0x1ed, for ring 0 only.
    let entry = root.add(0x1ed * 8);
    machine.put(entry, &(root.0 | RW & !USER));
    let (mappings, summary) = walk(&machine, root, Half::Both);
    // The four tables appear as pages: that of level 1 through three of its parents, the root through itself
    // alone.
    assert_eq!(mappings.len(), before + 4);
    let pages = 0xffff_f680_0000_0000;
    let tables: Vec<_> = mappings[before..].iter().map(|m| m.virt.0 - pages).collect();
    assert_eq!(tables, [0x40_0000 >> 9, 0x7b_4000_0000, 0x7b_7da0_0000, 0x7b_7dbe_d000]);
    assert_eq!((summary.cycles, summary.self_map().map(|cycle| cycle.entry)), (1, Some(entry)));
    assert!(summary.is_clean());
    // For ring 3, or twice, or at a lower level, it is not a deliberate self-map.
    machine.put(entry, &(root.0 | RW));
    assert!(walk(&machine, root, Half::Both).1.self_map().is_none());
    machine.put(entry, &(root.0 | RW & !USER));
    machine.put(root.add(0x1ee * 8), &(root.0 | RW & !USER));
    let (_, summary) = walk(&machine, root, Half::Both);
    assert_eq!((summary.cycles, summary.self_map()), (2, None));
    machine.put(root.add(0x1ee * 8), &0_u64);
    machine.put(entry, &0_u64);
    let lower = machine.entry(root, 0x60_0000, 2);
    machine.put(lower, &(root.0 | RW & !USER));
    let (_, summary) = walk(&machine, root, Half::Both);
    assert_eq!(summary.described_cycles.iter().map(|c| (c.entry, c.above)).collect::<Vec<_>>(), [(lower, 4)]);
    assert!(summary.self_map().is_none() && summary.truncated.is_none() && !summary.is_clean());
}

#[test]
fn a_tree_that_is_large_without_a_cycle_is_cut_without_one() {
    let mut machine = Machine::new(8);
    for table in 1..4 {
        machine.put(Frame(table).base(), &[(table + 1) << 12 | RW; 512]);
    }
    machine.put(Frame(4).base(), &[5 << 12 | RW; 512]);
    let budget = Budget { tables: 100, leaves: 1 << 20 };
    let summary = PAGING.walk(&machine.memory, Frame(1).base(), Half::User, budget, &mut |_| {});
    assert_eq!(summary.truncated, Some(Truncated { at: GuestVirt(97 << 21), cycle: None }));
    assert_eq!(summary.cycles, 0);
}

#[test]
fn five_levels_reach_57_bits() {
    let paging = Paging { five_levels: true, ..PAGING };
    let mut machine = Machine::new(16);
    let top = machine.root(abi::Pid::NONE);
    let below = machine.root(abi::Pid::NONE);
    machine.put(top.add(255 * 8), &(below.0 | RW));
    machine.put(top.add(511 * 8), &(below.0 | RW));
    let entry = machine.map(below, GuestVirt(0xffff_8000_0000_3000), Frame(9), RW);
    let mut found = Vec::new();
    let summary = paging.walk(&machine.memory, top, Half::Both, Budget::default(), &mut |m| found.push(m));
    assert!(summary.is_clean());
    let expected = [0x00ff_8000_0000_3000, 0xffff_8000_0000_3000];
    assert_eq!(
        found.iter().map(|m| (m.virt.0, m.entry)).collect::<Vec<_>>(),
        expected.map(|virt| (virt, entry))
    );
    for mapping in found {
        assert_eq!(paging.translate(&machine.memory, top, mapping.virt).unwrap().mapping, mapping);
    }
    let astray = paging.translate(&machine.memory, top, GuestVirt(1 << 56)).unwrap_err();
    assert_eq!((astray.level, astray.why), (5, Why::NotCanonical));
}
