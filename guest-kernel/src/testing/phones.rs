//! Phones: the caller's code in ring 0, what it leaves on the return stack, and that its faults are its own.

use abi::Pid;
use abi::layout::{DIRECT_MAP, KERNEL_CS, KERNEL_SS, PAGE_SIZE, USER_CS, USER_DATA, USER_SS, USER_TEXT};
use abi::process::Context;
use abi::syscall::{Call, Error, Keys};
use abi::trace::Kind;
use proptest::prelude::*;

use super::machine::FETCH;
use super::matrix::{Matrix, PLAIN, TIMELESS};
use super::signals::{HANDLER, RESTORER, TOP};

/// A function of the caller's.
const FUNCTION: u64 = USER_TEXT + 0x80;
/// Where it returns to.
const END: u64 = 0xffff_ffff_8010_1234;
/// Where the caller's registers lie during a call.
const KEPT: u64 = TOP - size_of::<Context>() as u64;

/// A process with a key and a return stack, which runs, and a neighbour of the same uid with a word in its
/// data.
fn caller() -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(200, TIMELESS);
    m.kernel.set_phone_end(END);
    let (caller, neighbour) = (m.spawn(PLAIN, 100, 3), m.spawn(PLAIN, 100, 3));
    m.schedule();
    m.turn_to(neighbour);
    m.write(USER_DATA, 4711).expect("it has data");
    m.turn_to(caller);
    m.process(caller).d.keys = Keys::PHONE;
    m.ok(caller, Call::Handle, &[HANDLER, TOP, RESTORER]);
    (m, caller, neighbour)
}

/// The caller is gone, by this exception, and nobody else is harmed.
#[track_caller]
fn ends(m: &mut Matrix, [caller, neighbour]: [Pid; 2], vector: u32) {
    let fault = m.last(Kind::Fault);
    assert_eq!((fault.pid, fault.a), (caller, vector));
    assert_eq!((m.alive(caller), m.running()), (false, neighbour));
    assert_eq!(m.read(USER_DATA), Some(4711));
    assert!(!m.kernel.is_on_phone());
}

#[test]
fn the_function_runs_in_ring_0_on_a_stack_of_its_own_and_the_caller_gets_its_result() {
    let (mut m, caller, _) = caller();
    for (argument, result) in [(5, 25), (u64::MAX, 0)] {
        let before = m.process(caller).d.context;
        m.act(caller, Call::Phone, &[FUNCTION, argument]);
        let context = m.process(caller).d.context;
        assert_eq!((context.rip, context.rdi), (FUNCTION, argument));
        assert_eq!((context.cs, context.ss), (u64::from(KERNEL_CS), u64::from(KERNEL_SS)));
        assert_eq!((context.rflags, m.kernel.is_on_phone(), context.rsp % 16), (2, true, 8));
        let stack = abi::GuestPhys(context.rsp - DIRECT_MAP).frame();
        assert_eq!(m.kind(stack), (abi::frame::FrameKind::KernelStack, caller));
        assert_eq!(m.kernel.hw().frame(stack).0[511], END);
        m.act(caller, Call::HangUp, &[result]);
        let after = m.process(caller).d.context;
        assert_eq!((after.rip, after.cs, after.ss), (before.rip, u64::from(USER_CS), u64::from(USER_SS)));
        assert_eq!((after.rsp, after.rbx, after.rax, after.rdi), (before.rsp, before.rbx, 0, result));
        assert!(!m.kernel.is_on_phone());
    }
    assert_eq!((m.counters().phones, m.traced(Kind::Phone).len()), (2, 4));
}

#[test]
fn a_call_leaves_its_registers_where_the_next_handler_returns_to() {
    let (mut m, caller, neighbour) = caller();
    assert_eq!(m.peek(caller, TOP - 8), Some(RESTORER));
    m.act(caller, Call::Phone, &[FUNCTION, 1]);
    m.act(caller, Call::HangUp, &[2]);
    let garbled = m.peek(caller, TOP - 8).expect("it is there");
    assert_eq!(garbled, u64::from(USER_SS));
    // A signal, and what the processor does at the handler's end.
    m.turn_to(neighbour);
    m.ok(neighbour, Call::Signal, &[u64::from(caller.0), 9]);
    m.turn_to(caller);
    assert_eq!(m.process(caller).d.context.rip, HANDLER);
    m.process(caller).d.context.rip = garbled;
    m.exception(14, FETCH, garbled);
    ends(&mut m, [caller, neighbour], 14);
}

#[test]
fn a_signal_waits_for_the_end_of_the_call() {
    let (mut m, caller, neighbour) = caller();
    m.act(caller, Call::Phone, &[FUNCTION, 1]);
    // Only a tick can have brought another to run.
    m.kernel.schedule();
    assert_eq!(m.running(), neighbour);
    m.ok(neighbour, Call::Signal, &[u64::from(caller.0), 9]);
    assert_eq!(m.process(caller).d.context.rip, FUNCTION);
    m.turn_to(caller);
    m.act(caller, Call::HangUp, &[2]);
    assert_eq!((m.running(), m.process(caller).d.context.rip), (caller, HANDLER));
}

#[test]
fn a_fault_on_the_phone_is_the_callers_end_and_nobody_elses() {
    // What would be mended in ring 3 is not: a page of the stack that was never touched.
    for (vector, at) in
        [(14, TOP + PAGE_SIZE), (14, abi::layout::USER_STACK), (14, 0), (6, 0), (13, 0), (8, 0), (1, 0)]
    {
        let (mut m, caller, neighbour) = caller();
        m.act(caller, Call::Phone, &[FUNCTION, 1]);
        m.exception(vector, 0, at);
        ends(&mut m, [caller, neighbour], vector as u32);
    }
}

#[test]
fn there_are_no_system_calls_on_the_phone() {
    for call in Call::ALL.iter().filter(|call| **call != Call::HangUp) {
        let (mut m, caller, neighbour) = caller();
        m.act(caller, Call::Phone, &[FUNCTION, 1]);
        m.act(caller, *call, &[0]);
        ends(&mut m, [caller, neighbour], 13);
    }
}

#[test]
fn a_call_needs_a_key_a_return_stack_and_a_function_of_the_callers_own() {
    let (mut m, caller, neighbour) = caller();
    for function in [0, USER_TEXT - 1, USER_TEXT + PAGE_SIZE, USER_DATA, END, u64::MAX] {
        m.refused(caller, Call::Phone, &[function, 1], Error::Invalid);
    }
    m.refused(caller, Call::HangUp, &[1], Error::Invalid);
    m.turn_to(neighbour);
    m.refused(neighbour, Call::Phone, &[FUNCTION, 1], Error::Denied);
    m.process(neighbour).d.keys = Keys::PHONE;
    m.refused(neighbour, Call::Phone, &[FUNCTION, 1], Error::Invalid);
    assert_eq!((m.counters().phones, m.kernel.is_on_phone()), (0, false));
}

#[test]
fn no_call_is_made_from_a_handler() {
    let (mut m, caller, _) = caller();
    m.act(caller, Call::Signal, &[u64::from(caller.0), 3]);
    m.refused(caller, Call::Phone, &[FUNCTION, 1], Error::Invalid);
    m.act(caller, Call::Return, &[]);
    m.act(caller, Call::Phone, &[FUNCTION, 1]);
    assert!(m.kernel.is_on_phone());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_the_function_leaves_there_nobody_returns_to_ring_0(words in prop::array::uniform22(any::<u64>()), near in any::<bool>()) {
        let (mut m, caller, neighbour) = caller();
        m.act(caller, Call::Phone, &[FUNCTION, 1]);
        for (nth, word) in words.into_iter().enumerate() {
            // The 18th is where the caller goes on.
            let word = if near && nth == 17 { USER_TEXT + word % PAGE_SIZE } else { word };
            m.write(KEPT + nth as u64 * 8, word).expect("its own memory");
        }
        m.act(caller, Call::HangUp, &[7]);
        if near {
            let context = m.process(caller).d.context;
            prop_assert_eq!((context.cs, context.ss), (u64::from(USER_CS), u64::from(USER_SS)));
            prop_assert_eq!(context.rflags & !0xed5, 2);
            prop_assert_eq!((context.rax, context.rdi), (0, 7));
        } else {
            ends(&mut m, [caller, neighbour], 13);
        }
    }
}
