//! The reverse map: packing, order, large pages, and budgets.

use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::space::{pid as pid_of, space_id};
use introspect::x86::{Budget, Paging, ReverseMap, Rights, Space};

use crate::machine::{LARGE, Machine, RO, RW, RX};

fn build(machine: &Machine, spaces: &[Space], budget: Budget) -> ReverseMap {
    ReverseMap::build(&machine.memory, Paging::default(), spaces.iter().copied(), budget)
}

fn space(machine: &mut Machine, slot: usize) -> Space {
    let pid = Pid::new(slot, 1);
    Space { id: space_id(pid), root: machine.root(pid) }
}

#[test]
fn a_frame_names_all_who_map_it() {
    let mut machine = Machine::new(64);
    let [a, b] = [1, 2].map(|slot| space(&mut machine, slot));
    machine.map(b.root, GuestVirt(0x9000), Frame(7), RX);
    machine.map(b.root, GuestVirt(0x4000), Frame(7), RO);
    machine.map(b.root, GuestVirt(0x5000), Frame(3), RW);
    let entry = machine.map(a.root, GuestVirt(0x7fff_ffff_f000), Frame(7), RW);
    let map = build(&machine, &[a, b], ReverseMap::BUDGET);
    let seen: Vec<_> = map.of(Frame(7)).iter().map(|m| (pid_of(map.id(*m)), m.virt().0)).collect();
    assert_eq!(seen, [(pid_of(a.id), 0x7fff_ffff_f000), (pid_of(b.id), 0x4000), (pid_of(b.id), 0x9000)]);
    let first = map.of(Frame(7))[0];
    assert_eq!((first.entry(), first.space(), first.frame()), (entry, 0, Frame(7)));
    assert_eq!(first.rights(), Rights { write: true, user: true, execute: false });
    assert_eq!(map.of(Frame(7))[2].rights(), Rights { write: false, user: true, execute: true });
    assert!(map.of(Frame(6)).is_empty() && map.of(Frame(u64::MAX)).is_empty());
    assert_eq!(map.groups().map(<[_]>::len).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(map.shared().map(|group| group[0].frame()).collect::<Vec<_>>(), [Frame(7)]);
    assert!(map.is_complete() && map.troubles().is_empty());
    // Four tables each: all pages of either lie within 2 MiB.
    assert_eq!(map.tables(), 8);
}

#[test]
fn a_large_page_counts_as_its_small_ones_up_to_the_end_of_memory() {
    let mut machine = Machine::new(520);
    let a = space(&mut machine, 1);
    let entry = machine.entry(a.root, 0x40_0000, 2);
    machine.put(entry, &(0x20_0000 | LARGE | RW));
    let map = build(&machine, &[a], ReverseMap::BUDGET);
    assert_eq!(map.len(), 8);
    assert_eq!(map.of(Frame(519))[0].frame(), Frame(519));
    assert_eq!(map.of(Frame(519))[0].virt(), GuestVirt(0x40_7000));
    assert!(map.mapped().all(|mapped| mapped.entry() == entry));
    assert!(map.is_complete());

    let map = build(&machine, &[a], Budget { tables: 10, leaves: 5 });
    assert_eq!(map.len(), 5);
    assert_eq!(map.troubles()[0].summary.truncated.unwrap().at, GuestVirt(0x40_5000));
    assert!(!map.is_complete());
}

#[test]
fn a_rebuild_forgets_what_was() {
    let mut machine = Machine::new(64);
    let [a, b] = [1, 2].map(|slot| space(&mut machine, slot));
    machine.map(a.root, GuestVirt(0x1000), Frame(5), RW);
    machine.map(a.root, GuestVirt(0x2000), Frame(99), RW);
    let mut map = build(&machine, &[a, b], ReverseMap::BUDGET);
    assert_eq!((map.len(), map.troubles().len(), map.spaces().len()), (1, 1, 2));
    assert_eq!(map.troubles()[0].space, a);
    map.rebuild(&machine.memory, Paging::default(), [b], ReverseMap::BUDGET);
    assert_eq!((map.len(), map.troubles().len(), map.spaces()), (0, 0, &[b][..]));
    assert_eq!(map.tables(), 1);
}

#[test]
fn one_hostile_space_does_not_hide_the_others() {
    let mut machine = Machine::new(64);
    let hostile = space(&mut machine, 1);
    machine.put(hostile.root, &[hostile.root.0 | RW; 512]);
    let [honest, other] = [2, 3].map(|slot| space(&mut machine, slot));
    machine.map(honest.root, GuestVirt(0x1000), Frame(5), RW);
    machine.map(other.root, GuestVirt(0x2000), Frame(5), RW);
    let outside = Space { id: space_id(Pid::new(4, 1)), root: GuestPhys(u64::MAX) };
    for budget in [Budget { tables: 40, leaves: 40 }, Budget { tables: 40, leaves: 1 << 20 }] {
        let map = build(&machine, &[hostile, outside, honest, other], budget);
        let pids: Vec<_> = map.of(Frame(5)).iter().map(|mapped| pid_of(map.id(*mapped))).collect();
        assert_eq!(pids, [pid_of(honest.id), pid_of(other.id)]);
        assert!(!map.is_complete());
        assert!(map.tables() <= budget.tables && map.len() as u64 <= budget.leaves);
        assert_eq!(map.troubles().iter().map(|t| t.space).collect::<Vec<_>>(), [hostile, outside]);
    }
}

#[test]
fn large_pages_that_are_mostly_not_memory_use_up_the_budget_too() {
    let mut machine = Machine::new(8);
    let a = space(&mut machine, 1);
    let entry = machine.entry(a.root, 0, 2);
    // 100 pages of 2 MiB; in each, 8 frames are memory and 504 are not.
    machine.put(entry, &[LARGE | RW; 100]);
    let map = build(&machine, &[a], Budget { tables: 10, leaves: 1000 });
    assert_eq!(map.len(), 8 + 8);
    assert_eq!(map.troubles()[0].summary.truncated.unwrap().at, GuestVirt(0x20_0000 + (8 + 496) * 4096));
}

#[test]
fn frames_come_in_order_however_high_they_are() {
    /// Memory at the bottom and far up, where frame numbers have more digits.
    struct Wide(Vec<u8>);
    const FAR: u64 = 1 << 38;
    impl introspect::PhysicalMemory for Wide {
        fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), introspect::OutOfRange> {
            self.0.read(GuestPhys(at.0 % FAR), into)
        }
    }
    let mut machine = Machine::new(64);
    let a = space(&mut machine, 1);
    let frames = [FAR >> 12 | 5, 5, FAR >> 12 | 4, 3 << 26 | 5, 1 << 30, 4, FAR >> 12 | 5];
    for (page, frame) in (0..).zip(frames) {
        machine.map(a.root, GuestVirt(page << 12), Frame(frame), RW);
    }
    let map = ReverseMap::build(&Wide(machine.memory), Paging::default(), [a], ReverseMap::BUDGET);
    let mut expected: Vec<_> = frames.into_iter().zip(0_u64..).collect();
    expected.sort_unstable();
    assert!(map.mapped().map(|mapped| (mapped.frame().0, mapped.virt().0 >> 12)).eq(expected));
    assert_eq!(map.of(Frame(FAR >> 12 | 5)).len(), 2);
}
