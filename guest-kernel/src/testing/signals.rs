//! Signals: delivery, return, waits that end, and who may send them.

use abi::Pid;
use abi::layout::{PAGE_SIZE, USER_CS, USER_DATA, USER_HEAP, USER_SS, USER_TEXT};
use abi::process::{Context, State, VECTOR_SYSCALL};
use abi::syscall::{Call, Error, SIGNAL_END};
use abi::trace::Kind;
use proptest::prelude::*;

use super::matrix::{Matrix, PLAIN, TIMELESS};

/// A handler and what it returns to.
pub(super) const HANDLER: u64 = USER_TEXT + 0x100;
pub(super) const RESTORER: u64 = USER_TEXT + 0x200;
/// The end of the return stack, which is the page of data.
pub(super) const TOP: u64 = USER_DATA + PAGE_SIZE;

/// A sender, which runs, and a receiver that handles signals, of the same uid.
fn pair() -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(200, TIMELESS);
    let (sender, receiver) = (m.spawn(PLAIN, 1000, 3), m.spawn(PLAIN, 1000, 3));
    m.schedule();
    m.turn_to(receiver);
    m.ok(receiver, Call::Handle, &[HANDLER, TOP, RESTORER]);
    m.turn_to(sender);
    (m, sender, receiver)
}

#[track_caller]
fn send(m: &mut Matrix, to: Pid, number: u64) {
    let me = m.running();
    m.ok(me, Call::Signal, &[u64::from(to.0), number]);
}

/// Where a process is.
#[track_caller]
fn at(m: &mut Matrix, pid: Pid) -> (u64, u64, u64) {
    let context = m.process(pid).d.context;
    (context.rip, context.rsp, context.rdi)
}

#[test]
fn the_return_address_is_written_once_at_the_top() {
    let (mut m, sender, receiver) = pair();
    assert_eq!(m.peek(receiver, TOP - 8), Some(RESTORER));
    for number in 1..4 {
        send(&mut m, receiver, number);
        assert_eq!(at(&mut m, receiver), (HANDLER, TOP - 8, number));
        m.turn_to(receiver);
        m.act(receiver, Call::Return, &[]);
        m.turn_to(sender);
    }
    // The kernel does not write it again: what stands there is the program's own.
    m.turn_to(receiver);
    m.write(TOP - 8, 99).expect("it is its own");
    m.turn_to(sender);
    send(&mut m, receiver, 5);
    assert_eq!((m.peek(receiver, TOP - 8), m.counters().signals), (Some(99), 4));
    let record = m.last(Kind::Signal);
    assert_eq!((record.pid, record.a, record.b), (receiver, 5, u64::from(sender.0)));
}

#[test]
fn one_is_handled_one_waits_and_a_third_is_refused() {
    let (mut m, sender, receiver) = pair();
    send(&mut m, receiver, 20);
    send(&mut m, receiver, 21);
    m.refused(sender, Call::Signal, &[u64::from(receiver.0), 22], Error::Exhausted);
    let before = m.process(receiver).d.context;
    m.turn_to(receiver);
    assert_eq!(at(&mut m, receiver), (HANDLER, TOP - 8, 20));
    m.act(receiver, Call::Return, &[]);
    assert_eq!((at(&mut m, receiver), before.rdi), ((HANDLER, TOP - 8, 21), 20));
    m.act(receiver, Call::Return, &[]);
    assert_eq!((at(&mut m, receiver).0, m.counters().signals), (USER_TEXT, 2));
    m.refused(receiver, Call::Return, &[], Error::Invalid);
}

#[test]
fn who_signals_itself_handles_it_at_once_and_then_sees_that_it_was_sent() {
    let (mut m, _, receiver) = pair();
    m.turn_to(receiver);
    m.act(receiver, Call::Signal, &[u64::from(receiver.0), 9]);
    assert_eq!((m.running(), at(&mut m, receiver)), (receiver, (HANDLER, TOP - 8, 9)));
    m.act(receiver, Call::Return, &[]);
    assert_eq!((m.status(receiver), at(&mut m, receiver).0), (0, USER_TEXT));
}

#[test]
fn every_wait_is_ended_and_says_so_after_the_handler() {
    for state in [
        State::Sleeping,
        State::Receiving,
        State::Waiting,
        State::Sending,
        State::AwaitingReply,
        State::Collecting,
    ] {
        let (mut m, sender, receiver) = pair();
        let server = m.spawn(PLAIN, 100, 3);
        m.turn_to(server);
        m.ok(server, Call::Bind, &[2000]);
        if state == State::AwaitingReply {
            m.act(server, Call::Receive, &[2000]);
        }
        m.turn_to(receiver);
        m.ok(receiver, Call::Bind, &[3000]);
        m.ok(receiver, Call::Grow, &[PAGE_SIZE]);
        match state {
            State::Sleeping => m.act(receiver, Call::Sleep, &[500]),
            State::Receiving => m.act(receiver, Call::Receive, &[3000, 500]),
            State::Waiting => m.act(receiver, Call::Wait, &[500]),
            State::Collecting => m.act(receiver, Call::Collect, &[3000, USER_HEAP, 64, 500]),
            _ => m.act(receiver, Call::Call, &[2000, 1, 2, USER_HEAP, PAGE_SIZE, 500]),
        }
        assert_eq!(m.state(receiver), Some(state));
        m.turn_to(sender);
        send(&mut m, receiver, 7);
        assert_eq!(m.state(receiver), Some(State::Ready), "{state:?}");
        m.turn_to(receiver);
        assert_eq!(at(&mut m, receiver), (HANDLER, TOP - 8, 7));
        m.act(receiver, Call::Return, &[]);
        assert_eq!(m.error(receiver), Some(Error::Interrupted), "{state:?}");
        assert!(m.kernel.running_timers().is_empty(), "{state:?}");
        assert!(m.kernel.loans().iter().all(|loan| loan.state != abi::loan::LOAN_ACTIVE));
    }
}

#[test]
fn without_a_handler_one_signal_ends_and_the_others_are_forgotten() {
    let (mut m, sender, receiver) = pair();
    m.turn_to(receiver);
    m.act(receiver, Call::Sleep, &[500]);
    send(&mut m, sender, 3);
    assert_eq!((m.running(), m.state(receiver)), (sender, Some(State::Sleeping)));
    m.ok(sender, Call::Handle, &[HANDLER, TOP, RESTORER]);
    m.ok(sender, Call::Handle, &[]);
    send(&mut m, receiver, SIGNAL_END);
    assert!(m.alive(receiver), "it has a handler");
    let witness = m.spawn(PLAIN, 1000, 3);
    m.act(sender, Call::Signal, &[u64::from(sender.0), SIGNAL_END]);
    assert!(!m.alive(sender) && m.alive(witness));
    assert_eq!(m.traced(Kind::Fault).len(), 0);
}

#[test]
fn signals_are_for_root_parents_and_equals() {
    let mut m = Matrix::boot(200, TIMELESS);
    let kernel = m.spawn_kernel(5);
    let root = m.spawn(PLAIN, 0, 3);
    let (one, other) = (m.spawn(PLAIN, 1000, 3), m.spawn(PLAIN, 1001, 3));
    m.schedule();
    m.turn_to(one);
    for (to, number, error) in [
        (other, 3, Error::Denied),
        (root, 3, Error::Denied),
        (kernel, 3, Error::Denied),
        (Pid::new(200, 0), 3, Error::Dead),
        (one, 0, Error::Invalid),
        (one, 64, Error::Invalid),
    ] {
        m.refused(one, Call::Signal, &[u64::from(to.0), number], error);
    }
    m.turn_to(root);
    m.refused(root, Call::Signal, &[u64::from(kernel.0), SIGNAL_END], Error::Denied);
    let child = Pid(m.ok(root, Call::Spawn, &[PLAIN as u64, 1000, 3]) as u32);
    for pid in [other, child] {
        m.ok(root, Call::Signal, &[u64::from(pid.0), SIGNAL_END]);
        assert!(!m.alive(pid));
    }
    m.refused(root, Call::Signal, &[u64::from(child.0), 3], Error::Dead);
}

#[test]
fn a_handler_must_be_where_programs_are_and_its_stack_where_it_can_be_written() {
    let (mut m, _, receiver) = pair();
    m.turn_to(receiver);
    for (handler, top, back, error) in [
        (1 << 47, TOP, RESTORER, Error::Invalid),
        (u64::MAX, TOP, RESTORER, Error::Invalid),
        (HANDLER, TOP, u64::MAX, Error::Invalid),
        (HANDLER, TOP, 8, Error::Invalid),
        (HANDLER, TOP - 8, RESTORER, Error::Invalid),
        (HANDLER, TOP + 8, RESTORER, Error::Invalid),
        (HANDLER, 0, RESTORER, Error::BadAddress),
        (HANDLER, USER_TEXT + PAGE_SIZE, RESTORER, Error::BadAddress),
        (HANDLER, USER_HEAP + PAGE_SIZE, RESTORER, Error::BadAddress),
        (HANDLER, !15, RESTORER, Error::BadAddress),
    ] {
        m.refused(receiver, Call::Handle, &[handler, top, back], error);
    }
    // What it had before still stands.
    m.act(receiver, Call::Signal, &[u64::from(receiver.0), 4]);
    assert_eq!(at(&mut m, receiver), (HANDLER, TOP - 8, 4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn all_registers_are_as_they_were_whatever_the_handler_does_to_them(
        registers in prop::array::uniform15(any::<u64>()),
        flags in any::<u64>(),
        dirt in prop::array::uniform6(any::<u64>()),
        numbers in prop::collection::vec(1u64..64, 1..3),
    ) {
        let (mut m, sender, receiver) = pair();
        let [r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax] = registers;
        let before = Context {
            r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax,
            vector: VECTOR_SYSCALL, error: 0, rip: USER_TEXT + 4, cs: u64::from(USER_CS), rflags: flags & 0xcd5,
            rsp: TOP - 512, ss: u64::from(USER_SS),
        };
        m.process(receiver).d.context = before;
        for number in &numbers {
            send(&mut m, receiver, *number);
        }
        for number in &numbers {
            prop_assert_eq!(at(&mut m, receiver), (HANDLER, TOP - 8, *number));
            prop_assert_eq!(m.process(receiver).d.context.rflags & 0x400, 0);
            m.turn_to(receiver);
            m.call(Call::Query as u64, &dirt);
            m.process(receiver).d.context.rbx = dirt[0];
            m.process(receiver).d.context.rflags ^= 1;
            m.turn_to(receiver);
            m.act(receiver, Call::Return, &dirt);
        }
        prop_assert_eq!(m.process(receiver).d.context, before);
        prop_assert!(m.alive(sender));
    }
}
