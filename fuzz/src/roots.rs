//! The scan for roots of page tables: bounded, in order, repeatable, the same in two kinds of memory, and
//! independent of the bits that the processor sets by itself.

use abi::frame::{FrameEntry, FrameKind};
use abi::{Frame, GuestPhys, Pid};
use introspect::matrix::Guest;
use introspect::matrix::guest::Process;
use introspect::matrix::roots::{Standing, judge};
use introspect::matrix::space::pid as pid_of;
use introspect::x86::paging::Entry;
use introspect::x86::roots::{Scan, groups, sharing};
use introspect::x86::{Paging, PhysicalMemory};

use crate::input::Input;
use crate::memory::{FRAMES, Plain, paging, tables};

const ACCESSED_DIRTY: u8 = 1 << 5 | 1 << 6;

/// Scans a memory in which some pages have the upper half of others.
pub fn roots(data: &[u8]) {
    let mut input = Input::new(data);
    let paging = paging(&mut input);
    let known =
        GuestPhys(input.one_of(&[0, 1, 2, FRAMES as u64, u64::MAX >> 12]) << 12 | u64::from(input.byte()));
    let copies: [_; 6] = std::array::from_fn(|_| (input.below(FRAMES), input.below(FRAMES), input.byte()));
    let mut guest = guest(&mut input);
    let mut memory = tables(&mut input);
    for (from, to, keep) in copies {
        // One in four copies lacks an entry, or has an extra one.
        let half = memory[from * 4096 + 2048..][..2048].to_vec();
        memory[to * 4096 + 2048..][..2048].copy_from_slice(&half);
        if keep % 4 == 0 {
            memory[to * 4096 + 2048 + usize::from(keep / 4) * 8 * 4] ^= 1;
        }
    }
    let frames = || (0..FRAMES as u64 + 2).map(Frame).chain([Frame(1 << 40), Frame(u64::MAX)]);

    let found = sharing(&memory, paging, frames(), known);
    check(&memory, paging, &found);
    assert_eq!(found, sharing(&memory, paging, frames(), known), "the second scan differs from the first");
    assert_eq!(found, sharing(&Plain(&memory), paging, frames(), known));
    let grouped = groups(&memory, paging, frames());
    assert_eq!(grouped, groups(&Plain(&memory), paging, frames()));
    assert!(grouped.len() <= Scan::MOST_GROUPS);
    for scan in &grouped {
        assert!(!scan.roots.is_empty(), "a group without a root");
        check(&memory, paging, scan);
    }
    check_judgement(&mut guest, &found);

    // These bits must not affect the result.
    for (nth, byte) in memory.iter_mut().enumerate().filter(|(nth, _)| nth % 8 == 0) {
        *byte ^= ((nth / 8 % 4) as u8 * 32) & ACCESSED_DIRTY;
    }
    assert_eq!(found, sharing(&memory, paging, frames(), known), "accessed and dirty bits decided something");
}

fn check(memory: &Vec<u8>, paging: Paging, scan: &Scan) {
    assert!(scan.complete && scan.roots.len() <= FRAMES);
    assert!(scan.roots.windows(2).all(|pair| pair[0].at < pair[1].at), "not in the order of the frames");
    for root in &scan.roots {
        let table = |nth: u64| {
            let value = memory.read_u64(root.at.add(nth * 8)).expect("a root is in memory");
            matches!(paging.decode(value, paging.root_level()), Entry::Table(at) if memory.has_frame(at.frame()))
        };
        assert_eq!(usize::from(root.user_entries), (0..256).filter(|nth| table(*nth)).count());
        assert!(root.kernel_entries > 0, "a root without a kernel");
    }
}

/// Generates a frame table and two processes.
fn guest(input: &mut Input<'_>) -> Guest {
    let mut guest = Guest::default();
    guest.frames =
        (0..FRAMES).map(|_| FrameEntry { kind: input.below(16) as u8, ..FrameEntry::default() }).collect();
    for slot in 1..=2 {
        let descriptor = vec![0; 4096].read_value(GuestPhys(0)).expect("a descriptor is smaller than a page");
        let mut process = Process { frame: Frame(0), descriptor };
        process.descriptor.pid = Pid::new(slot, 0);
        process.descriptor.root = input.below(FRAMES + 2) as u32;
        process.descriptor.state = input.below(12) as u8;
        guest.processes.push(process);
    }
    guest
}

fn check_judgement(guest: &mut Guest, found: &Scan) {
    let spaces: Vec<_> = guest.spaces().collect();
    let judged: Vec<_> = judge(guest, &found.roots).collect();
    assert!(judged.iter().map(|judged| &judged.root).eq(&found.roots));
    for judged in judged {
        let owner = spaces.iter().find(|space| space.root == judged.root.at).map(|space| pid_of(space.id));
        let expected = match (owner, judged.kind) {
            (Some(pid), _) => Standing::Named(pid),
            (None, Some(FrameKind::Free | FrameKind::Quarantined | FrameKind::Unused)) => Standing::Residue,
            (None, _) => Standing::Hidden,
        };
        assert_eq!(judged.standing, expected);
    }
}
