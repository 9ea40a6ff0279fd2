//! A process that the process table does not name, because somebody has written into it: dead to all others,
//! it runs on, and the kernel takes no harm. The invariants are looked at after every step as ever.

use abi::Pid;
use abi::process::State;
use abi::syscall::{Call, Error};

use super::matrix::{Matrix, PLAIN, TIMELESS};
use crate::base::index::Slot;

/// A root process and another one that nobody can see; the root runs.
fn hidden() -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(300, TIMELESS);
    let (root, hider) = (m.spawn(PLAIN, 0, 3), m.spawn(PLAIN, 1000, 3));
    m.schedule();
    m.turn_to(hider);
    m.fill(hider, 2);
    m.turn_to(root);
    m.kernel.process_table_mut()[hider.slot()] = 0;
    (m, root, hider)
}

#[test]
fn it_runs_in_its_turn_waits_and_wakes() {
    let (mut m, root, hider) = hidden();
    m.turn_to(hider);
    assert_eq!(m.read(abi::layout::USER_HEAP), Some(0), "in its own address space");
    let slot = Slot::of(hider);
    m.act(hider, Call::Sleep, &[3]);
    assert_eq!(m.kernel.process(slot).d.state, State::Sleeping as u8);
    assert_eq!(m.running(), root);
    m.act(root, Call::Sleep, &[100]);
    assert_eq!(m.running(), hider, "its time has come first");
}

#[test]
fn to_others_it_is_dead() {
    let (mut m, root, hider) = hidden();
    let who = u64::from(hider.0);
    m.refused(root, Call::Kill, &[who], Error::Dead);
    m.refused(root, Call::Signal, &[who, 15], Error::Dead);
    m.turn_to(hider);
    assert_eq!(m.running(), hider);
}

#[test]
fn it_ends_like_any_other_and_its_slot_is_used_again() {
    let (mut m, root, hider) = hidden();
    let before = m.unowned();
    m.turn_to(hider);
    m.act(hider, Call::Exit, &[0]);
    assert!(m.unowned() > before, "its frames are free again");
    let next = Pid(m.ok(root, Call::Spawn, &[PLAIN as u64, 1000, 3]) as u32);
    assert_eq!((next.slot(), m.alive(next)), (hider.slot(), true));
    assert_ne!(next, hider);
}

#[test]
fn it_can_be_ended_for_its_memory() {
    let (mut m, root, hider) = hidden();
    assert!(m.kernel.out_of_memory(Slot::of(root)), "there is one of the people");
    assert!(!m.kernel.is_taken(Slot::of(hider)));
}
