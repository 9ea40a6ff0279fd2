//! The shims of older versions: old programs run, and each violation does what its comment says, no more.

use abi::Pid;
use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_HEAP, USER_HEAP_END};
use abi::process::State;
use abi::syscall::{Call, Error};
use abi::trace::Kind;
use proptest::prelude::*;

use super::matrix::{FRAMES, Matrix, PLAIN, TIMELESS};
use abi::compat::{V1_BRK, V1_EXIT, V1_NICE, V1_SLEEP, V2_EXIT, V2_POST_WORD, V2_STAT, V2_YIELD};

/// An old program, which runs, and another.
fn two() -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(100, TIMELESS);
    let (old, other) = (m.spawn(PLAIN, 1000, 3), m.spawn(PLAIN, 1000, 3));
    m.schedule();
    (m, old, other)
}

/// The running program makes an old call that succeeds; gives the results.
#[track_caller]
fn old(m: &mut Matrix, number: u64, arguments: &[u64]) -> [u64; 3] {
    let me = m.running();
    m.call(number, arguments);
    assert_eq!((m.running(), m.status(me)), (me, 0));
    let [a, b, c, ..] = m.results(me);
    [a, b, c]
}

#[test]
fn brk_gives_pages_at_once_and_the_ledger_knows_them() {
    let (mut m, me, _) = two();
    let free = m.kernel.info().free_frames;
    assert_eq!(old(&mut m, V1_BRK, &[0])[0], USER_HEAP);
    assert_eq!(old(&mut m, V1_BRK, &[USER_HEAP + 2 * PAGE_SIZE + 1])[0], USER_HEAP);
    assert_eq!(m.kernel.info().free_frames, free - 4, "three pages and their table");
    let given = m.traced(Kind::Given).into_iter().rev().take(4).filter(|record| record.pid == me);
    assert_eq!(given.count(), 4);
    for page in 0..3 {
        let at = USER_HEAP + page * PAGE_SIZE;
        let frame = m.frame(me, at).expect("it is there");
        assert_eq!((m.kind(frame), m.read(at)), ((FrameKind::User, me), Some(0)));
    }
    assert_eq!(old(&mut m, V1_BRK, &[0])[0], USER_HEAP + 3 * PAGE_SIZE);
    // The violation: they are in nobody's account.
    assert_eq!((m.process(me).d.frames, m.counters().faults), (FRAMES[PLAIN], 0));
    m.call(V1_EXIT, &[0]);
    assert_eq!(m.kernel.info().free_frames, free + FRAMES[PLAIN] + 1);
}

#[test]
fn brk_stays_inside_the_heap_and_never_touches_the_quarantine() {
    let (mut m, me, _) = two();
    for address in [USER_HEAP - 1, USER_HEAP_END + 1, u64::MAX, 1] {
        m.call(V1_BRK, &[address]);
        assert_eq!(m.error(me), Some(Error::Invalid));
    }
    m.call(V1_BRK, &[USER_HEAP_END]);
    assert_eq!((m.error(me), m.kernel.info().free_frames), (Some(Error::Exhausted), 0));
    assert_eq!((m.counters().early_reuses, m.counters().out_of_memory), (0, 0));
    // Calls of both kinds go together.
    let end = old(&mut m, V1_BRK, &[0])[0];
    assert_eq!(m.ok(me, Call::Grow, &[PAGE_SIZE]), end);
}

#[test]
fn the_end_of_memory_does_not_see_what_brk_gave() {
    let (mut m, me, other) = two();
    old(&mut m, V1_BRK, &[USER_HEAP + 50 * PAGE_SIZE]);
    m.turn_to(other);
    m.fill(other, 10);
    m.turn_to(me);
    let free = u64::from(m.kernel.info().free_frames);
    old(&mut m, V1_BRK, &[USER_HEAP + (50 + free) * PAGE_SIZE]);
    assert_eq!(m.read(abi::layout::USER_DATA), Some(0));
    assert_eq!(m.last(Kind::OutOfMemory).pid, other, "with ten pages, not the one with all of them");
}

#[test]
fn nice_makes_its_caller_less_urgent_and_nothing_else() {
    let (mut m, me, other) = two();
    old(&mut m, V1_NICE, &[2]);
    let d = m.process(me).d;
    assert_eq!((d.priority, d.effective), (5, 5));
    m.act(me, Call::Yield, &[]);
    m.act(other, Call::Yield, &[]);
    assert_eq!(m.running(), other, "the other is more urgent now");
    m.act(other, Call::Exit, &[]);
    old(&mut m, V1_NICE, &[u64::MAX]);
    assert_eq!(m.process(me).d.priority, 7);
}

#[test]
fn sleep_and_yield_are_what_they_were() {
    let (mut m, me, other) = two();
    m.call(V1_SLEEP, &[5]);
    assert_eq!((m.running(), m.state(me)), (other, Some(State::Sleeping)));
    m.act(other, Call::Sleep, &[9]);
    assert_eq!((m.running(), m.status(me), m.kernel.info().tick), (me, 0, 5));
    m.act(me, Call::Sleep, &[9]);
    assert_eq!(m.running(), other);
    m.call(V1_SLEEP, &[50]);
    assert_eq!(m.running(), me);
    let switches = m.counters().switches;
    old(&mut m, V2_YIELD, &[]);
    assert_eq!(m.counters().switches, switches + 1);
}

#[test]
fn a_word_goes_straight_into_the_registers_of_who_receives() {
    let (mut m, me, receiver) = two();
    m.server(receiver, 2000);
    let messages = m.counters().messages;
    old(&mut m, V2_POST_WORD, &[u64::from(receiver.0), 77]);
    assert_eq!(m.results(receiver), [u64::from(me.0), 77, 0, 0, 0, 1000]);
    assert_eq!(m.state(receiver), Some(State::Ready));
    // The violation: nobody has counted or traced a message.
    assert_eq!((m.counters().messages, m.traced(Kind::Send).len()), (messages, 0));
    m.call(V2_POST_WORD, &[u64::from(receiver.0), 78]);
    assert_eq!(m.error(me), Some(Error::NotFound));
    m.call(V2_POST_WORD, &[0xffff, 78]);
    assert_eq!(m.error(me), Some(Error::Dead));
    // Who answers it finds nobody, and goes on serving.
    m.turn_to(receiver);
    m.act(receiver, Call::Reply, &[u64::from(me.0), 0, 0, 2000]);
    assert_eq!(m.state(receiver), Some(State::Receiving));
}

#[test]
fn stat_tells_everybody_how_anybody_is() {
    let (mut m, _, _) = two();
    let root = m.spawn(PLAIN, 0, 3);
    assert_eq!(old(&mut m, V2_STAT, &[u64::from(root.0)]), [State::Ready as u64, 0, 0]);
}

#[test]
fn old_calls_are_counted_by_version_and_others_refused() {
    let (mut m, me, other) = two();
    m.call(V2_YIELD, &[]);
    m.turn_to(me);
    m.call(V1_NICE, &[0]);
    let record = m.last(Kind::OldCall);
    assert_eq!((record.pid, u64::from(record.a), record.b), (me, V1_NICE, 1));
    for number in [26, V1_NICE + 1, V2_STAT + 1, u64::MAX] {
        m.call(number, &[]);
        assert_eq!(m.error(me), Some(Error::Invalid));
    }
    assert_eq!((m.counters().calls_v1, m.counters().calls_v2), (1, 1));
    m.call(V2_EXIT, &[3]);
    assert_eq!((m.running(), m.alive(me), m.last(Kind::Exit).a), (other, false, 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The invariants hold after each of them.
    #[test]
    fn old_calls_with_any_arguments_do_no_harm(
        steps in prop::collection::vec((0u64..10, any::<u64>(), 0u64..8, any::<bool>()), 0..120),
    ) {
        let mut m = Matrix::boot(90, "tick-entries=8 low-water=0");
        let keeper = m.spawn(PLAIN, 0, 7);
        for _ in 0..4 {
            m.spawn(PLAIN, 1000, 3);
        }
        m.schedule();
        for (what, raw, small, bind) in steps {
            let me = m.running();
            if me == keeper {
                m.call(Call::Spawn as u64, &[PLAIN as u64, 1000, 3]);
                m.call(Call::Sleep as u64, &[2]);
                continue;
            }
            match what {
                0 if small == 0 => m.call(V1_EXIT, &[raw]),
                1 => m.call(V1_SLEEP, &[small]),
                2 => m.call(V1_BRK, &[USER_HEAP + raw % 16 * PAGE_SIZE]),
                3 => m.call(V1_BRK, &[raw]),
                4 => m.call(V1_NICE, &[small]),
                5 | 6 => m.call(V2_POST_WORD, &[small, raw]),
                7 => m.call(V2_STAT, &[small]),
                8 if bind => m.call(Call::Bind as u64, &[2000 + small]),
                8 | 9 => m.call(Call::Receive as u64, &[2000 + small, 3]),
                _ => m.call(V2_YIELD, &[]),
            }
        }
    }
}
