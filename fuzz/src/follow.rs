//! The reverse map that is kept up to date: after any change it equals a rebuilt map, and it has reported
//! every frame whose mappings changed.

use abi::{Frame, GuestPhys, Pid};
use introspect::matrix::space::{pid as pid_of, space_id};
use introspect::x86::{Budget, Changed, Followed, Mapped, Paging, ReverseMap, Space, Touched};

use crate::input::Input;
use crate::memory::{FRAMES, paging, tables, write_entry};

/// Largest number of changes, each with an update.
const MOST_STEPS: usize = 8;

/// Follows a guest that changes page tables and address spaces.
pub fn follow(data: &[u8]) {
    let mut input = Input::new(data);
    let paging = paging(&mut input);
    let budget = Budget { tables: input.one_of(&[60, 30, 12, 0]), leaves: input.one_of(&[200, 60, 20, 0]) };
    let first = input.below(64);
    let mut memory = tables(&mut input.part(first * 5));
    let mut spaces: Vec<_> = (0..1 + input.below(3)).map(|slot| space(slot, &mut input)).collect();
    let mut followed = Followed::new(paging, budget);
    followed.update(&memory, &spaces, &Changed::everything());
    let mut before = check(&followed, &memory, paging, budget, &spaces, &ReverseMap::default());

    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        let old = memory.clone();
        let kind = input.byte();
        match kind % 8 {
            0 if spaces.len() < 5 => {
                let at = input.below(spaces.len() + 1);
                spaces.insert(at, space(8 + usize::from(kind / 8), &mut input));
            }
            1 if !spaces.is_empty() => drop(spaces.remove(input.below(spaces.len()))),
            2 => {
                let (from, to) = (input.below(FRAMES), input.below(FRAMES));
                memory.copy_within(from * 4096..(from + 1) * 4096, to * 4096);
            }
            3 => memory[input.below(FRAMES) * 4096..][..4096].fill(0),
            _ => (0..1 + input.below(4)).for_each(|_| write_entry(&mut memory, &mut input)),
        }
        let mut changed = if kind >= 224 { Changed::everything() } else { Changed::nothing() };
        for frame in 0..FRAMES {
            let range = frame * 4096..(frame + 1) * 4096;
            // A log may name too many frames.
            if memory[range.clone()] != old[range] || kind & 64 != 0 {
                changed.add(Frame(frame as u64));
            }
        }
        followed.update(&memory, &spaces, &changed);
        before = check(&followed, &memory, paging, budget, &spaces, &before);
    }
}

fn space(slot: usize, input: &mut Input<'_>) -> Space {
    Space { id: space_id(Pid::new(slot, 0)), root: GuestPhys((input.below(FRAMES + 1) as u64) << 12) }
}

/// Compares the map with a rebuilt one, and returns the latter.
fn check(
    followed: &Followed,
    memory: &Vec<u8>,
    paging: Paging,
    budget: Budget,
    spaces: &[Space],
    before: &ReverseMap,
) -> ReverseMap {
    let (map, fresh) = (followed.map(), ReverseMap::build(memory, paging, spaces.iter().copied(), budget));
    assert_eq!(map.spaces(), fresh.spaces());
    assert!(map.mapped().eq(fresh.mapped()), "the map that was kept up to date differs");
    assert_eq!((map.len(), map.tables(), map.troubles()), (fresh.len(), fresh.tables(), fresh.troubles()));
    assert_eq!(map.is_complete(), fresh.is_complete());
    let tables = |map: &ReverseMap| {
        let mut tables: Vec<_> =
            map.table_pages().map(|(table, pid)| (table.frame, table.entry, pid)).collect();
        tables.sort_unstable();
        tables
    };
    assert_eq!(tables(map), tables(&fresh));

    if let Touched::Frames(touched) = followed.touched() {
        assert!(touched.is_sorted());
        // Compare the ids of the spaces, not their indices in the list.
        let content = |map: &ReverseMap, of: &[Mapped]| {
            of.iter().map(|m| (pid_of(map.id(*m)), m.virt(), m.rights(), m.entry())).collect::<Vec<_>>()
        };
        for frame in (0..FRAMES as u64).map(Frame).filter(|frame| !touched.contains(frame)) {
            assert_eq!(
                content(before, before.of(frame)),
                content(&fresh, fresh.of(frame)),
                "{frame:?} was not told"
            );
        }
    }
    fresh
}
