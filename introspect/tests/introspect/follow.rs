//! Compares the map that is kept up to date with a rebuilt one.

use abi::frame::FrameKind;
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::space::{pid as pid_of, space_id};
use introspect::x86::{Budget, Changed, Followed, Mapped, Paging, ReverseMap, Space, Touched};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::machine::{LARGE, Machine, NO_EXECUTE, RO, RW, RX};

/// Frames of the machine: tables of level 4, of 3, of 2, of 1, and pages.
const TABLES: [std::ops::Range<u64>; 4] = [1..5, 5..9, 9..14, 14..24];
pub(crate) const FRAMES: u64 = 34;
const ACCESSED: u64 = 1 << 5;

/// One change of the machine.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// An entry is written into a table of a level, at an index, that leads to a frame of the level below,
    /// with flags.
    Set(usize, Index, usize, Index, u64),
    Clear(usize, Index, usize),
    /// An invalid or unusual entry is written.
    Break(Index, usize, u64),
    /// An address space appears at an index of the list, or vanishes from it.
    Appear(Index, Index),
    Vanish(Index),
}

pub(crate) fn changes() -> impl Strategy<Value = Change> {
    let index = || any::<Index>();
    let place = || prop::sample::select(vec![0usize, 1, 2, 255, 256, 511]);
    let flags = prop::sample::select(vec![RW, RO, RX, RW | ACCESSED, RW & !4]);
    prop_oneof![
        12 => (0..4usize, index(), place(), index(), flags).prop_map(|(a, b, c, d, e)| Change::Set(a, b, c, d, e)),
        4 => (0..4usize, index(), place()).prop_map(|(a, b, c)| Change::Clear(a, b, c)),
        1 => (index(), place(), any::<u64>()).prop_map(|(a, b, c)| Change::Break(a, b, c)),
        2 => (index(), index()).prop_map(|(a, b)| Change::Appear(a, b)),
        1 => index().prop_map(Change::Vanish),
    ]
}

pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) spaces: Vec<Space>,
    next: usize,
    pub(crate) changed: Changed,
}

impl World {
    pub(crate) fn new() -> Self {
        let machine = Machine::new(FRAMES as usize);
        Self { machine, spaces: Vec::new(), next: 0, changed: Changed::nothing() }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        let frame = |range: &std::ops::Range<u64>, at: Index| {
            range.start + at.index((range.end - range.start) as usize) as u64
        };
        let (table, index, value) = match *change {
            Change::Set(nth, table, index, to, flags) => {
                let below = TABLES.get(nth + 1).cloned().unwrap_or(TABLES[3].end..FRAMES);
                (
                    frame(&TABLES[nth], table),
                    index,
                    frame(&below, to) << 12 | if nth == 3 { flags } else { flags & !NO_EXECUTE },
                )
            }
            Change::Clear(nth, table, index) => (frame(&TABLES[nth], table), index, 0),
            Change::Break(table, index, value) => {
                let (table, noise) = (table.index(24) as u64, value >> 8 & (0x8000_0000_0003_f000 | LARGE));
                // Cycles and holes, large pages, garbage.
                let value = match value % 4 {
                    0 => value,
                    1 => LARGE | RW,
                    _ => noise | RW,
                };
                (table, index, value)
            }
            Change::Appear(at, root) => {
                let at = at.index(self.spaces.len() + 1);
                let root = GuestPhys(frame(&TABLES[0], root) << 12);
                self.next += 1;
                self.spaces.insert(at, Space { id: space_id(Pid::new(self.next, 1)), root });
                return;
            }
            Change::Vanish(at) => {
                if !self.spaces.is_empty() {
                    self.spaces.remove(at.index(self.spaces.len()));
                }
                return;
            }
        };
        self.changed.add(Frame(table));
        self.machine.put(GuestPhys((table << 12) + index as u64 * 8), &value);
    }
}

fn groups(map: &ReverseMap) -> Vec<Vec<Mapped>> {
    (0..FRAMES).map(|frame| map.of(Frame(frame)).to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_map_that_is_kept_up_to_date_is_the_one_built_anew(
        rounds in prop::collection::vec((prop::collection::vec(changes(), 0..12), 0..4u8), 1..12),
        budget in prop_oneof![4 => Just(ReverseMap::BUDGET), 1 => (1..60u64, 1..60u64).prop_map(|(tables, leaves)| Budget { tables, leaves })],
        five_levels in prop::bool::weighted(0.2),
    ) {
        let paging = Paging { five_levels, ..Paging::default() };
        let mut world = World::new();
        let mut followed = Followed::new(paging, budget);
        let mut before = groups(followed.map());
        for (changes, known) in &rounds {
            changes.iter().for_each(|change| world.apply(change));
            match known {
                // No log, or one that names too many frames: the result must be the same.
                0 => world.changed.add_everything(),
                1 => (0..FRAMES).step_by(3).for_each(|frame| world.changed.add(Frame(frame))),
                _ => {}
            }
            followed.update(&world.machine.memory, &world.spaces, &world.changed);
            world.changed.clear();
            let anew = ReverseMap::build(&world.machine.memory, paging, world.spaces.iter().copied(), budget);
            let map = followed.map();
            prop_assert_eq!(map.spaces(), anew.spaces());
            prop_assert!(map.mapped().eq(anew.mapped()), "{:?}\n{:?}", map.mapped().collect::<Vec<_>>(), anew.mapped().collect::<Vec<_>>());
            prop_assert_eq!(map.troubles(), anew.troubles());
            prop_assert!(map.table_pages().eq(anew.table_pages()));
            prop_assert_eq!((map.len(), map.tables(), map.is_complete()), (anew.len(), anew.tables(), anew.is_complete()));
            let after = groups(map);
            if let Touched::Frames(touched) = followed.touched() {
                prop_assert!(touched.is_sorted());
                for frame in (0..FRAMES).filter(|frame| !touched.contains(&Frame(*frame))) {
                    let strip = |group: &[Mapped]| group.iter().map(|m| (m.virt(), m.rights(), m.entry())).collect::<Vec<_>>();
                    prop_assert_eq!(strip(&before[frame as usize]), strip(&after[frame as usize]));
                }
            }
            before = after;
        }
    }
}

/// Builds two spaces with a few pages each.
fn town() -> (Machine, Vec<Space>) {
    let mut machine = Machine::new(600);
    let spaces: Vec<_> = (1..=20)
        .map(|slot| {
            let pid = Pid::new(slot, 1);
            let root = machine.root(pid);
            for page in 0..10 {
                let frame = machine.frame(FrameKind::User, pid);
                machine.map(root, GuestVirt(0x80_0000 + page * 4096), frame, RW);
            }
            Space { id: space_id(pid), root }
        })
        .collect();
    (machine, spaces)
}

#[test]
fn only_what_changed_is_read_again() {
    let (mut machine, mut spaces) = town();
    let mut followed = Followed::new(Paging::default(), ReverseMap::BUDGET);
    let update = |followed: &mut Followed, machine: &Machine, spaces: &[Space], frames: &[u64]| {
        let mut changed = Changed::nothing();
        frames.iter().for_each(|frame| changed.add(Frame(*frame)));
        followed.update(&machine.memory, spaces, &changed);
        followed.read()
    };
    assert_eq!(update(&mut followed, &machine, &spaces, &[]), 80);
    assert_eq!(followed.touched(), Touched::Everything);
    assert_eq!(update(&mut followed, &machine, &spaces, &[]), 0);
    // A page table, and a page that is not one.
    let entry = machine.entry(spaces[3].root, 0x80_0000, 1);
    machine.put(entry, &0_u64);
    let gone = followed.map().mapped().find(|mapped| mapped.entry() == entry).unwrap().frame();
    assert_eq!(update(&mut followed, &machine, &spaces, &[entry.frame().0, gone.0]), 1);
    assert_eq!((followed.touched(), followed.map().len()), (Touched::Frames(&[gone]), 199));
    // Bits that do not affect the mapping are no change.
    let entry = machine.entry(spaces[4].root, 0x80_1000, 1);
    machine.put(entry, &(machine.get(entry) | 0x60));
    assert_eq!(update(&mut followed, &machine, &spaces, &[entry.frame().0]), 1);
    assert_eq!(followed.touched(), Touched::Frames(&[]));
    // Only a new address space is read; one that is gone is not.
    let new = Space { id: space_id(Pid::new(77, 1)), ..spaces[0] };
    spaces.insert(7, new);
    spaces.remove(2);
    assert_eq!(update(&mut followed, &machine, &spaces, &[]), 4);
    assert_eq!(followed.map().len(), 199);
    // A new table below is read with its parent.
    let pid = pid_of(spaces[0].id);
    let frame = machine.frame(FrameKind::User, pid);
    let directory = machine.entry(spaces[1].root, 0xa0_0000, 2);
    machine.map(spaces[1].root, GuestVirt(0xa0_0000), frame, RW);
    assert_eq!(update(&mut followed, &machine, &spaces, &[directory.frame().0]), 2);
    assert_eq!(followed.touched(), Touched::Frames(&[frame]));
}

#[test]
fn a_guest_that_recovers_is_followed_again() {
    let (mut machine, spaces) = town();
    let mut followed = Followed::new(Paging::default(), ReverseMap::BUDGET);
    let everything = Changed::everything();
    followed.update(&machine.memory, &spaces, &everything);
    let entry = machine.entry(spaces[3].root, 0x80_0000, 1);
    let sound = machine.get(entry);
    machine.put(entry, &(0xdead << 12 | RW));
    followed.update(&machine.memory, &spaces, &everything);
    assert_eq!((followed.map().troubles().len(), followed.touched()), (1, Touched::Everything));
    machine.put(entry, &sound);
    followed.update(&machine.memory, &spaces, &Changed::nothing());
    assert_eq!((followed.map().troubles().len(), followed.map().len()), (0, 200));
    followed.update(&machine.memory, &spaces, &Changed::nothing());
    assert_eq!((followed.read(), followed.touched()), (0, Touched::Frames(&[])));
}
