//! Compares the walk with a naive model, on sound tables and on garbage.

use abi::{Frame, GuestPhys, GuestVirt};
use introspect::x86::walk::Why;
use introspect::x86::{Budget, Half, Mapping, PageSize, Paging, PhysicalMemory, Rights};
use proptest::prelude::*;

const FRAMES: u64 = 12;

/// The model: level by level, each bit by its position in the manual's tables, for memories of whole frames.
fn model(memory: &[u8], paging: Paging, table: u64, level: u32, base: u64, above: [bool; 3]) -> Vec<Mapping> {
    let mut found = Vec::new();
    for index in 0..512 {
        let entry = table + index * 8;
        let value = memory.read_u64(GuestPhys(entry)).unwrap();
        let bit = |n: u32| value >> n & 1 == 1;
        let field = |high: u32, low: u32| (low..=high).any(bit);
        let top = if paging.five_levels { 56 } else { 47 };
        let virt = match base + (index << (12 + 9 * (level - 1))) {
            low if low < 1 << top => low,
            high => high | u64::MAX << top,
        };
        let leaf = level == 1 || level < 4 && bit(7);
        let wide = u32::from(paging.physical_bits);
        let reserved = level >= 4 && bit(7)
            || wide < 52 && field(51, wide)
            || !paging.no_execute && bit(63)
            || level == 3 && leaf && field(29, 13)
            || level == 2 && leaf && field(20, 13);
        if !bit(0) || reserved {
            continue;
        }
        let allowed = [above[0] && bit(1), above[1] && bit(2), above[2] && !bit(63)];
        let address = value & 0x000f_ffff_ffff_f000;
        if !leaf {
            if address / 4096 < FRAMES {
                found.extend(model(memory, paging, address, level - 1, virt & ((2 << top) - 1), allowed));
            }
            continue;
        }
        let (size, address) = match level {
            1 => (PageSize::Small, address),
            2 => (PageSize::Large, address >> 21 << 21),
            _ => (PageSize::Huge, address >> 30 << 30),
        };
        if address / 4096 < FRAMES {
            let [write, user, execute] = allowed;
            found.push(Mapping {
                virt: GuestVirt(virt),
                frame: Frame(address / 4096),
                size,
                rights: Rights { write, user, execute },
                entry: GuestPhys(entry),
            });
        }
    }
    found
}

fn levels(paging: Paging) -> u32 {
    if paging.five_levels { 5 } else { 4 }
}

/// Generates a few entries per table, most of them sound and with addresses in memory.
fn memories() -> impl Strategy<Value = Vec<u8>> {
    let flag = |bit: u32, weight: f64| prop::bool::weighted(weight).prop_map(move |on| u64::from(on) << bit);
    let flags = (flag(0, 0.95), flag(1, 0.8), flag(2, 0.8), flag(7, 0.15), flag(63, 0.3), flag(44, 0.03))
        .prop_map(|(a, b, c, d, e, f)| a | b | c | d | e | f);
    let address = prop_oneof![8 => 0..FRAMES, 1 => FRAMES..FRAMES + 3, 1 => Just(0)];
    let index = prop_oneof![0..4usize, 254..258usize, 508..512usize];
    let entry = (0..FRAMES as usize, index, flags, address)
        .prop_map(|(table, index, flags, address)| (table, index, flags | address << 12));
    prop::collection::vec(entry, 1..60).prop_map(|entries| {
        let mut memory = vec![0; FRAMES as usize * 4096];
        for (table, index, value) in entries {
            memory[table * 4096 + index * 8..][..8].copy_from_slice(&value.to_le_bytes());
        }
        memory
    })
}

fn pagings() -> impl Strategy<Value = Paging> {
    (any::<bool>(), prop_oneof![Just(40u8), Just(52)], any::<bool>()).prop_map(
        |(no_execute, physical_bits, five_levels)| Paging { no_execute, physical_bits, five_levels },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn the_walk_finds_what_the_model_finds(memory in memories(), paging in pagings(), root in 0..FRAMES) {
        let expected = model(&memory, paging, root * 4096, levels(paging), 0, [true; 3]);
        let root = Frame(root).base();
        let walk = |half| {
            let mut found = Vec::new();
            let summary = paging.walk(&memory, root, half, Budget::default(), &mut |m| found.push(m));
            assert_eq!((summary.leaves, summary.truncated), (found.len() as u64, None));
            found
        };
        let found = walk(Half::Both);
        prop_assert_eq!(&found, &expected);
        prop_assert!(found.is_sorted_by_key(|mapping| mapping.virt));
        prop_assert_eq!([walk(Half::User), walk(Half::Kernel)].concat(), expected);

        let mut reachable = Vec::new();
        let summary = paging.walk_ring3(&memory, root, Budget::default(), &mut |m| reachable.push(m));
        prop_assert_eq!(summary.leaves, reachable.len() as u64);
        prop_assert_eq!(reachable, found.iter().copied().filter(|m| m.rights.user).collect::<Vec<_>>());
    }

    /// Also for damaged tables, cycles, and more tables than the budget allows.
    #[test]
    fn the_iterator_gives_what_the_walk_visits(
        memory in memories(),
        paging in pagings(),
        root in 0..FRAMES + 1,
        half in prop_oneof![Just(Half::User), Just(Half::Kernel), Just(Half::Both)],
        budget in (0..80u64, 0..80u64).prop_map(|(tables, leaves)| Budget { tables, leaves }),
        taken in 0..80usize,
    ) {
        let root = Frame(root).base();
        let mut visited = Vec::new();
        let summary = paging.walk(&memory, root, half, budget, &mut |mapping| visited.push(mapping));
        let mut mappings = paging.mappings(&memory, root, half, budget);
        prop_assert_eq!(mappings.by_ref().take(taken).collect::<Vec<_>>(), &visited[..taken.min(visited.len())]);
        prop_assert!(mappings.summary().tables <= budget.tables);
        prop_assert_eq!(mappings.by_ref().count(), visited.len().saturating_sub(taken));
        prop_assert_eq!((mappings.next(), mappings.summary()), (None, &summary));
    }

    #[test]
    fn an_address_translates_to_what_the_walk_found(memory in memories(), paging in pagings(), offset: u64) {
        let root = GuestPhys(0);
        let mut found = Vec::new();
        let summary = paging.walk(&memory, root, Half::Both, Budget::default(), &mut |m| found.push(m));
        for mapping in &found {
            let offset = offset % mapping.size.bytes();
            let translation = paging.translate(&memory, root, mapping.virt.add(offset)).unwrap();
            prop_assert_eq!(translation.mapping, *mapping);
            prop_assert_eq!(translation.phys, mapping.frame.base().add(offset));
        }
        for bad in &summary.described {
            let refused = paging.translate(&memory, root, bad.virt).unwrap_err();
            prop_assert_eq!((refused.level, refused.entry, refused.why), (bad.level, bad.entry, bad.why));
        }
        // An address next to a leaf is mapped by another leaf, or not at all.
        for mapping in &found {
            let next = GuestVirt(mapping.virt.0.wrapping_add(mapping.size.bytes()));
            match paging.translate(&memory, root, next) {
                Ok(other) => prop_assert!(found.contains(&other.mapping)),
                Err(refused) => prop_assert!(refused.why != Why::RootOutside),
            }
        }
    }

    #[test]
    fn garbage_neither_panics_nor_outlives_its_budget(
        seed: u64,
        keep: u64,
        set in 0..8u64,
        root in prop_oneof![0..16u64, any::<u64>()],
        tables in 0..300u64,
        leaves in 0..5000u64,
    ) {
        // Noise, thinned out by `keep`, with some low bits set so that much of it is present.
        let mut state = seed | 1;
        let memory: Vec<u8> = (0..8 * 512)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state & (keep | 0x7fff) | set).to_le_bytes()
            })
            .collect();
        let root = if root < 16 { GuestPhys(root << 12) } else { GuestPhys(root) };
        for five_levels in [true, false] {
            let paging = Paging { no_execute: seed & 1 == 1, physical_bits: (seed % 70) as u8, five_levels };
            for half in [Half::User, Half::Kernel, Half::Both] {
                let mut seen = 0;
                let budget = Budget { tables, leaves };
                let summary = paging.walk(&memory, root, half, budget, &mut |_| seen += 1);
                prop_assert!(summary.tables <= tables && summary.leaves <= leaves && seen == summary.leaves);
            }
            for virt in [seed, seed >> 17, seed | 0xffff_8000_0000_0000] {
                let _ = paging.translate(&memory, root, GuestVirt(virt));
            }
        }
    }
}
