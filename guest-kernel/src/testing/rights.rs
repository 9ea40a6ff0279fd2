//! What is refused to whom: root's calls, the kernel's own, keys, and arguments that make no sense to
//! anybody.

use abi::Pid;
use abi::process::State;
use abi::syscall::{Call, Error, Keys, Load, Query};
use abi::trace::Kind;

use super::matrix::{BARE, Matrix, PLAIN, PROGRAMS, TIMELESS};

/// Root, and somebody who is not; both take turns.
fn two() -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(200, TIMELESS);
    let (root, user) = (m.spawn(PLAIN, 0, 3), m.spawn(PLAIN, 1000, 3));
    m.schedule();
    (m, root, user)
}

#[test]
fn privileged_ports_are_for_root() {
    let (mut m, root, user) = two();
    m.ok(root, Call::Bind, &[1]);
    m.ok(root, Call::Bind, &[1023]);
    m.turn_to(user);
    for port in [2, 80, 1023] {
        m.refused(user, Call::Bind, &[port], Error::Denied);
    }
    m.ok(user, Call::Bind, &[1024]);
    m.ok(user, Call::Bind, &[u64::MAX]);
}

#[test]
fn only_root_kills_and_starts() {
    let (mut m, root, user) = two();
    m.turn_to(user);
    let alive = m.kernel.info().alive;
    for victim in [root, user] {
        m.refused(user, Call::Kill, &[u64::from(victim.0)], Error::Denied);
    }
    m.refused(user, Call::Spawn, &[BARE as u64, 1000, 3], Error::Denied);
    assert_eq!((m.kernel.info().alive, m.traced(Kind::Kill).len()), (alive, 0));
    m.turn_to(root);
    m.ok(root, Call::Spawn, &[BARE as u64, 1000, 3]);
    m.ok(root, Call::Kill, &[u64::from(user.0)]);
    assert_eq!((m.last(Kind::Kill).pid, m.last(Kind::Kill).b), (user, u64::from(root.0)));
    assert_eq!(m.state(user), None);
}

#[test]
fn uid_decides_and_a_child_of_root_has_the_uid_that_it_was_given() {
    let (mut m, root, _) = two();
    let child = m.ok(root, Call::Spawn, &[PLAIN as u64, 1000, 3]);
    let child = Pid(child as u32);
    m.turn_to(child);
    m.refused(child, Call::Kill, &[u64::from(root.0)], Error::Denied);
    assert_eq!((m.process(child).d.uid, m.process(child).d.keys, m.process(child).d.parent), (1000, 0, root));
}

#[test]
fn a_kernel_process_is_only_doomed_and_who_is_dead_is_dead() {
    let (mut m, root, user) = two();
    let kernel = m.spawn_kernel(4);
    m.turn_to(user);
    m.refused(user, Call::Kill, &[u64::from(kernel.0)], Error::Denied);
    m.turn_to(root);
    m.ok(root, Call::Kill, &[u64::from(kernel.0)]);
    assert_eq!((m.process(kernel).d.doomed, m.last(Kind::Doomed).pid), (1, kernel));
    let child = m.ok(root, Call::Spawn, &[BARE as u64, 0, 3]);
    m.ok(root, Call::Kill, &[child]);
    assert_eq!(m.state(Pid(child as u32)), Some(State::Zombie));
    for nobody in [child, 0, 200, 0xffff, child + (1 << 16), u64::from(user.0) + (1 << 32), u64::MAX] {
        m.refused(root, Call::Kill, &[nobody], Error::Dead);
    }
    assert_eq!(m.kernel.info().alive, 3);
}

#[test]
fn keys_are_granted_by_the_kernel_and_the_watchdog_wants_one() {
    let (mut m, root, user) = two();
    let keys = u64::from(Keys::WATCHDOG);
    for pid in [root, user] {
        m.turn_to(pid);
        m.refused(pid, Call::Pet, &[3], Error::Denied);
        m.refused(pid, Call::Grant, &[u64::from(pid.0), keys], Error::Denied);
    }
    assert_eq!((m.counters().pets, m.kernel.hw().pets.len()), (0, 0));
    let kernel = m.spawn_kernel(1);
    m.schedule();
    m.refused(kernel, Call::Grant, &[0, keys, keys], Error::Dead);
    m.ok(kernel, Call::Grant, &[u64::from(user.0), keys, keys]);
    assert_eq!((m.last(Kind::Grant).pid, m.last(Kind::Grant).b), (user, u64::from(kernel.0)));
    m.act(kernel, Call::Sleep, &[1]);
    m.turn_to(user);
    m.ok(user, Call::Pet, &[0x13]);
    assert_eq!((m.counters().pets, &m.kernel.machine().pets[..], m.last(Kind::Pet).pid), (1, &[3][..], user));
    m.turn_to(root);
    m.refused(root, Call::Pet, &[3], Error::Denied);
}

#[test]
fn births_that_make_no_sense_are_refused_and_leave_nothing() {
    let (mut m, root, _) = two();
    let unowned = m.unowned();
    for program in [PROGRAMS as u64, 1 << 32, u64::MAX] {
        m.refused(root, Call::Spawn, &[program, 0, 3], Error::NotFound);
    }
    for (uid, priority) in [(1 << 32, 3), (0, 8), (0, 256), (0, u64::MAX)] {
        m.refused(root, Call::Spawn, &[BARE as u64, uid, priority], Error::Invalid);
    }
    assert_eq!((m.unowned(), m.kernel.info().alive), (unowned, 2));
}

#[test]
fn anybody_may_ask_but_only_what_there_is() {
    let (mut m, root, user) = two();
    m.turn_to(user);
    assert_eq!(m.ok(user, Call::Query, &[Query::Me as u64]), u64::from(user.0));
    assert_eq!(m.ok(user, Call::Query, &[Query::Tick as u64]), 0);
    assert_eq!(m.ok(user, Call::Query, &[Query::Alive as u64]), 2);
    assert_eq!(m.ok(user, Call::Query, &[Query::Crashes as u64]), 0);
    let people = m.kernel.params().load(Load::People as u64).expect("there is such a parameter");
    assert_eq!(m.ok(user, Call::Query, &[Query::Load as u64, Load::People as u64]), people);
    m.refused(user, Call::Query, &[Query::Load as u64, Load::ALL.len() as u64], Error::Invalid);
    m.refused(user, Call::Query, &[Query::Load as u64, u64::MAX], Error::Invalid);
    assert_eq!(m.ok(user, Call::Query, &[Query::Slot as u64, root.slot() as u64]), u64::from(root.0));
    assert_eq!(m.ok(user, Call::Query, &[Query::Slot as u64, 200]), 0);
    m.refused(user, Call::Query, &[Query::Slot as u64, 256], Error::Invalid);
    m.refused(user, Call::Query, &[6], Error::Invalid);
    m.turn_to(root);
    m.ok(root, Call::Kill, &[u64::from(user.0)]);
    assert_eq!(m.ok(root, Call::Query, &[Query::Alive as u64]), 1);
    assert_eq!(m.ok(root, Call::Query, &[Query::Crashes as u64]), 1);
}

#[test]
fn what_is_printed_bears_its_programs_name_and_has_a_limit() {
    let (mut m, root, _) = two();
    let word = u64::from_le_bytes(*b"abcdefgh");
    m.ok(root, Call::Print, &[40, word, word, word, word, word]);
    m.ok(root, Call::Print, &[3, word]);
    m.refused(root, Call::Print, &[41], Error::Invalid);
    m.refused(root, Call::Print, &[u64::MAX], Error::Invalid);
    assert_eq!(
        core::str::from_utf8(&m.kernel.hw().console),
        Ok("plain: abcdefghabcdefghabcdefghabcdefghabcdefgh\nplain: abc\n")
    );
}
