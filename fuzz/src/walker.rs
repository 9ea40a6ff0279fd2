//! Compares the page walk and the reverse map with the translation of single addresses, within their budgets.

use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::space::space_id;
use introspect::x86::walk::Why;
use introspect::x86::{
    Budget, Half, Mapping, PageSize, Paging, PhysicalMemory, ReverseMap, Space, WalkSummary,
};

use crate::input::Input;
use crate::memory::{FRAMES, Plain, paging, tables};

/// Walks hostile tables: the walk is bounded, in order, the same in two kinds of memory, and each leaf agrees
/// with translation.
pub fn walker(data: &[u8]) {
    let mut input = Input::new(data);
    let paging = paging(&mut input);
    let budget =
        Budget { tables: input.one_of(&[30, 60, 12, 1, 0]), leaves: input.one_of(&[60, 200, 20, 1, 0]) };
    let root = GuestPhys(input.one_of(&[0, 1, FRAMES as u64 - 1, FRAMES as u64, u64::MAX >> 12]) << 12);
    let asked = [input.word(), input.word() & 0x7fff_ffff_ffff, input.word() | 0xffff_8000_0000_0000];
    let memory = tables(&mut input);

    let (found, summary) = walk(paging, &memory, root, Half::Both, budget);
    assert_eq!((&found, &summary), (&walk(paging, &Plain(&memory), root, Half::Both, budget).0, &summary));
    let mut leaves = paging.mappings(&memory, root, Half::Both, budget);
    assert!(leaves.by_ref().eq(found.iter().copied()), "the iterator is another walk");
    assert_eq!((leaves.next(), leaves.summary()), (None, &summary));
    check_translations(paging, &memory, root, &found, &summary);
    if summary.truncated.is_none() {
        check_halves(paging, &memory, root, budget, &found);
        for virt in asked.into_iter().flat_map(|virt| [virt, virt & 0xffff_8000_0060_3fff]) {
            let leaf = paging.translate(&memory, root, GuestVirt(virt)).ok().map(|to| to.mapping);
            assert_eq!(leaf, covering(&found, virt), "{virt:#x} is mapped by one and not by the other");
        }
    }
    check_reverse(paging, &memory, budget);
}

fn walk<M: PhysicalMemory>(
    paging: Paging,
    memory: &M,
    root: GuestPhys,
    half: Half,
    budget: Budget,
) -> (Vec<Mapping>, WalkSummary) {
    let mut found = Vec::new();
    let summary = paging.walk(memory, root, half, budget, &mut |mapping| found.push(mapping));
    assert!(summary.tables <= budget.tables && summary.leaves <= budget.leaves, "{summary:?} of {budget:?}");
    assert_eq!(summary.leaves, found.len() as u64);
    assert!(
        found.windows(2).all(|pair| pair[0].virt.0 + (pair[0].size.bytes() - 1) < pair[1].virt.0),
        "leaves overlap or are not in order"
    );
    (found, summary)
}

/// Returns the leaf that contains an address.
fn covering(found: &[Mapping], virt: u64) -> Option<Mapping> {
    found.iter().copied().find(|leaf| leaf.virt.0 <= virt && virt - leaf.virt.0 < leaf.size.bytes())
}

fn check_translations(
    paging: Paging,
    memory: &Vec<u8>,
    root: GuestPhys,
    found: &[Mapping],
    summary: &WalkSummary,
) {
    for leaf in found {
        for within in [0, leaf.size.bytes() - 1] {
            let to = paging.translate(memory, root, leaf.virt.add(within)).expect("a leaf translates");
            assert_eq!((to.mapping, to.phys), (*leaf, leaf.frame.base().add(within)));
        }
        assert!(memory.has_frame(leaf.frame));
    }
    for bad in summary.described.iter().filter(|bad| bad.why != Why::RootOutside) {
        let refused = paging.translate(memory, root, bad.virt).expect_err("a bad entry maps nothing");
        assert_eq!((refused.level, refused.entry, refused.why), (bad.level, bad.entry, bad.why));
        assert_eq!(memory.read_u64(bad.entry), Ok(bad.value));
    }
}

fn check_halves(paging: Paging, memory: &Vec<u8>, root: GuestPhys, budget: Budget, found: &[Mapping]) {
    let half = |half| walk(paging, memory, root, half, budget).0;
    assert_eq!([half(Half::User), half(Half::Kernel)].concat(), found);
    let mut ring3 = Vec::new();
    let summary = paging.walk_ring3(memory, root, budget, &mut |mapping| ring3.push(mapping));
    assert_eq!(summary.truncated, None);
    assert!(ring3.iter().eq(found.iter().filter(|mapping| mapping.rights.user)));
}

/// Builds one map of three spaces: it holds what the walks of each find.
fn check_reverse(paging: Paging, memory: &Vec<u8>, budget: Budget) {
    let spaces = [(1, 0), (2, 4), (3, 0)];
    let spaces =
        spaces.map(|(slot, frame)| Space { id: space_id(Pid::new(slot, 0)), root: Frame(frame).base() });
    let map = ReverseMap::build(memory, paging, spaces, budget);
    assert!(map.len() as u64 <= budget.leaves && map.tables() <= budget.tables);
    assert!(map.mapped().is_sorted());
    assert_eq!((map.mapped().count(), map.groups().map(<[_]>::len).sum()), (map.len(), map.len()));
    for group in map.groups() {
        assert_eq!(map.of(group[0].frame()), group);
    }
    for mapped in map.mapped() {
        let root = map.spaces()[mapped.space()].root;
        let to = paging.translate(memory, root, mapped.virt()).expect("what is in the map is mapped");
        assert_eq!((to.phys, to.mapping.rights), (mapped.frame().base(), mapped.rights()));
        assert_eq!(to.mapping.entry, mapped.entry());
    }
    if !map.is_complete() {
        return;
    }
    let mut pages = 0;
    for space in &spaces {
        let summary = paging.walk_ring3(memory, space.root, budget, &mut |leaf| {
            pages += (0..leaf.size.frames().min(FRAMES as u64))
                .filter(|nth| memory.has_frame(Frame(leaf.frame.0 + nth)))
                .count();
            assert!(leaf.size == PageSize::Small || leaf.frame.0.is_multiple_of(leaf.size.frames()));
        });
        assert_eq!(summary.truncated, None);
    }
    assert_eq!(map.len(), pages, "the map lacks pages, or has too many");
}
