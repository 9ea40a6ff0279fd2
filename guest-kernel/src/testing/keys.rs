//! Who is entitled to which keys, and the log of what was granted.

use abi::Pid;
use abi::frame::FrameKind;
use abi::syscall::{Call, Error, FIRST_PERSON, GRANT_SLOTS, Grant, Keys};
use abi::trace::Kind;
use zerocopy::{FromBytes, IntoBytes};

use super::matrix::{Matrix, PLAIN, TIMELESS};
use crate::base::hardware::Hardware;
use crate::security::keys::entitled;

const ALL: u32 = Keys::WATCHDOG | Keys::PHONE | Keys::AGENT;

fn log(m: &mut Matrix) -> [Grant; GRANT_SLOTS] {
    let frame = m.kernel.info().grant_log.frame();
    <[Grant; GRANT_SLOTS]>::read_from_bytes(m.kernel.hw().page(frame).as_bytes()).expect("it fills a frame")
}

/// The kernel process that grants, which runs, and somebody who wants.
fn two() -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(200, TIMELESS);
    let keeper = m.spawn_kernel(1);
    let user = m.spawn(PLAIN, 1000, 3);
    m.schedule();
    (m, keeper, user)
}

#[test]
fn root_may_have_every_key_the_system_phones_and_people_nothing() {
    assert_eq!(entitled(0), ALL);
    assert_eq!([1, 100, FIRST_PERSON - 1].map(entitled), [Keys::PHONE; 3]);
    assert_eq!([FIRST_PERSON, 5000, u32::MAX].map(entitled), [0; 3]);
}

#[test]
fn what_is_granted_and_what_is_withheld_is_counted_and_logged() {
    let (mut m, keeper, user) = two();
    assert_eq!(m.kernel.info().grant_log.0, 0);
    let pid = u64::from(user.0);
    m.ok(keeper, Call::Grant, &[pid, u64::from(ALL), u64::from(Keys::WATCHDOG | Keys::PHONE)]);
    m.ok(keeper, Call::Grant, &[pid, u64::from(Keys::AGENT), 0]);
    m.ok(keeper, Call::Grant, &[pid, u64::from(Keys::PHONE), u64::from(Keys::PHONE)]);
    assert_eq!(m.process(user).d.keys, Keys::WATCHDOG | Keys::PHONE);
    assert_eq!((m.counters().granted, m.counters().withheld, m.traced(Kind::Grant).len()), (3, 2, 2));
    let log = log(&mut m);
    assert_eq!(log[0], Grant::default());
    assert_eq!(
        [1, 2, 3].map(|at| (log[at].serial, log[at].pid, log[at].wanted, log[at].granted)),
        [
            (1, user, ALL, Keys::WATCHDOG | Keys::PHONE),
            (2, user, Keys::AGENT, 0),
            (3, user, Keys::PHONE, Keys::PHONE)
        ]
    );
    let frame = m.kernel.info().grant_log.frame();
    assert_eq!(m.kind(frame), (FrameKind::Keys, keeper));
}

#[test]
fn a_full_log_begins_again_at_its_start() {
    let (mut m, keeper, user) = two();
    m.watchful = false;
    let slots = GRANT_SLOTS as u64;
    for _ in 0..slots + 2 {
        m.ok(keeper, Call::Grant, &[u64::from(user.0), 1, 1]);
    }
    let log = log(&mut m);
    assert_eq!([0, 1, 2, 3].map(|at| log[at].serial), [128, 129, 130, 3]);
}

#[test]
fn nobody_but_the_kernel_grants_and_the_dead_get_nothing() {
    let (mut m, keeper, user) = two();
    for nobody in [0, u64::from(user.0) + (1 << 16), 1 << 32, u64::MAX] {
        m.refused(keeper, Call::Grant, &[nobody, 1, 1], Error::Dead);
    }
    m.act(keeper, Call::Sleep, &[10]);
    m.refused(user, Call::Grant, &[u64::from(user.0), 1, 1], Error::Denied);
    assert_eq!((m.process(user).d.keys, m.kernel.info().grant_log.0), (0, 0));
}
