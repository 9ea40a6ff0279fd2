//! Demand paging: what is reserved comes when it is touched, or needed by a call; the low-water mark; who is
//! ended when there is no frame left at all, and that nobody else is harmed by it.

use std::vec::Vec;

use abi::Pid;
use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_DATA, USER_HEAP, USER_STACK, USER_STACK_TOP};
use abi::process::{PROCESS_SLOTS, State};
use abi::syscall::{Call, Error};
use abi::trace::Kind;
use proptest::prelude::*;

use super::matrix::{BARE, FRAMES, LARGE, Matrix, PLAIN, TIMELESS};
use crate::proc::KILLED;

/// Root, which runs, and one of the people.
fn two(frames: usize, line: &str) -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(frames, line);
    let (root, person) = (m.spawn(PLAIN, 0, 3), m.spawn(PLAIN, 1000, 3));
    m.schedule();
    (m, root, person)
}

#[test]
fn what_is_reserved_costs_nothing_until_it_is_touched_and_then_once() {
    let (mut m, root, _) = two(200, TIMELESS);
    let free = m.kernel.info().free_frames;
    m.ok(root, Call::Grow, &[100 * PAGE_SIZE]);
    assert_eq!((m.kernel.info().free_frames, m.counters().faults), (free, 0));
    // The heap's first page needs a page table; data and stack lie in the text's.
    for (at, frames) in
        [(USER_HEAP + 50 * PAGE_SIZE, 2), (USER_HEAP, 3), (USER_DATA, 4), (USER_STACK_TOP - 8, 5)]
    {
        for _ in 0..2 {
            assert_eq!(m.read(at), Some(0));
            assert_eq!(m.kernel.info().free_frames, free - frames);
        }
    }
    let d = m.process(root).d;
    assert_eq!((d.frames, d.faults, m.counters().faults), (FRAMES[PLAIN] + 5, 4, 4));
}

#[test]
fn memory_that_is_lent_is_given_before_it_is_touched() {
    let (mut m, root, person) = two(200, TIMELESS);
    m.server(person, 2000);
    m.turn_to(root);
    m.ok(root, Call::Grow, &[2 * PAGE_SIZE]);
    m.act(root, Call::Call, &[2000, 0, 0, USER_HEAP, 2 * PAGE_SIZE]);
    let window = m.results(person)[3];
    m.write(window + PAGE_SIZE, 7).expect("it is lent");
    m.act(person, Call::Reply, &[u64::from(root.0)]);
    assert_eq!(m.read(USER_HEAP + PAGE_SIZE), Some(7));
}

#[test]
fn the_low_water_mark_is_told_once_until_there_is_enough_again() {
    let (mut m, root, _) = two(200, "tick-entries=1000000 low-water=20");
    let mut told = 0;
    for _ in 0..2 {
        let child = m.ok(root, Call::Spawn, &[PLAIN as u64, 100, 3]);
        let child = Pid(child as u32);
        m.turn_to(child);
        // Two frames more than down to the mark: the page and its table.
        m.fill(child, m.kernel.info().free_frames - 20 - 1);
        assert_eq!((m.kernel.info().free_frames, m.counters().low_water), (20, told));
        m.fill(child, 3);
        told += 1;
        let record = m.last(Kind::LowWater);
        assert_eq!((m.counters().low_water, record.a, record.b), (told, 19, 20));
        m.turn_to(root);
        m.refused(root, Call::Spawn, &[BARE as u64, 1000, 3], Error::Exhausted);
        // What the system itself needs is started still.
        let service = m.ok(root, Call::Spawn, &[BARE as u64, 999, 3]);
        for pid in [service, u64::from(child.0)] {
            m.ok(root, Call::Kill, &[pid]);
            m.ok(root, Call::Wait, &[]);
        }
        let person = m.ok(root, Call::Spawn, &[BARE as u64, 1000, 3]);
        m.ok(root, Call::Kill, &[person]);
        m.ok(root, Call::Wait, &[]);
    }
}

#[test]
fn at_the_end_of_memory_the_one_with_the_most_is_ended_and_the_touch_succeeds() {
    let mut m = Matrix::boot(150, TIMELESS);
    let pids = [0, 1000, 100, 1000].map(|uid| m.spawn(PLAIN, uid, 3));
    let [root, small, large, asking] = pids;
    m.schedule();
    for (pid, pages) in [(root, 40), (small, 10), (large, 30), (asking, 5)] {
        m.turn_to(pid);
        m.fill(pid, pages);
    }
    m.fill(asking, m.kernel.info().free_frames - 10);
    m.turn_to(large);
    m.fill(large, 10);
    assert_eq!(m.kernel.info().free_frames, 0);
    m.turn_to(asking);
    let before = m.process(asking).d.frames.max(m.process(large).d.frames);
    let (victim, other) = if m.process(large).d.frames == before { (large, asking) } else { (asking, large) };
    m.turn_to(small);
    m.write(USER_DATA, 11).expect("memory was made for it");
    let (record, counters) = (m.last(Kind::OutOfMemory), m.counters());
    assert_eq!((record.pid, record.a, record.b), (victim, before, u64::from(small.0)));
    assert_eq!((counters.out_of_memory, counters.crashes), (1, 1));
    assert_eq!(
        (m.alive(victim), m.alive(other), m.alive(root), m.read(USER_DATA)),
        (false, true, true, Some(11))
    );
}

#[test]
fn the_one_that_asks_may_be_the_one_that_is_ended() {
    let (mut m, root, person) = two(100, TIMELESS);
    let child = Pid(m.ok(root, Call::Spawn, &[PLAIN as u64, 1000, 3]) as u32);
    m.turn_to(child);
    m.fill(child, m.kernel.info().free_frames - 1);
    assert_eq!((m.kernel.info().free_frames, m.read(USER_STACK)), (0, None));
    assert_eq!(m.last(Kind::OutOfMemory).pid, child);
    assert_eq!(m.traced(Kind::Fault).len(), 0);
    m.turn_to(root);
    assert_eq!((m.ok(root, Call::Wait, &[]), m.results(root)[1]), (u64::from(child.0), KILLED));
    assert!(m.alive(person));
}

#[test]
fn root_and_the_kernels_own_are_never_chosen() {
    let mut m = Matrix::boot(60, TIMELESS);
    let keeper = m.spawn_kernel(3);
    let root = m.spawn(PLAIN, 0, 3);
    m.schedule();
    m.turn_to(root);
    m.fill(root, m.kernel.info().free_frames - 1);
    // Nobody can be ended for it: it is the fault of the one that asks.
    assert_eq!(m.read(USER_STACK), None);
    assert_eq!((m.counters().out_of_memory, m.last(Kind::Fault).pid), (0, root));
    assert!(m.alive(keeper));
}

#[test]
fn a_call_that_lends_what_there_is_no_frame_for_is_made_again() {
    let (mut m, root, victim) = two(120, TIMELESS);
    let server = m.spawn(PLAIN, 0, 3);
    m.server(server, 2000);
    m.turn_to(victim);
    m.fill(victim, 20);
    m.turn_to(root);
    m.fill(root, m.kernel.info().free_frames - 1);
    let at = m.ok(root, Call::Grow, &[PAGE_SIZE]);
    let rip = m.process(root).d.context.rip;
    let arguments = [2000, 5, 6, at, PAGE_SIZE, 50];
    m.act(root, Call::Call, &arguments);
    assert_eq!((m.alive(victim), m.running()), (false, root));
    let context = m.process(root).d.context;
    assert_eq!((context.rip, context.rax), (rip - 2, Call::Call as u64));
    assert_eq!((m.results(root), m.counters().refusals), (arguments, 0));
    // What the processor does there.
    m.process(root).d.context.rip = rip;
    m.act(root, Call::Call, &arguments);
    assert_eq!((m.running(), m.results(server)[1]), (server, 5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The invariants after every entry count the frames; here: memory keeps what was written to it, whoever
    /// is ended.
    #[test]
    fn under_pressure_no_frame_is_lost_and_no_word_changes(
        frames in 60usize..110,
        steps in prop::collection::vec((0u8..8, 0usize..16, 0u64..24), 0..250),
    ) {
        let mut m = Matrix::boot(frames, "tick-entries=8 low-water=10");
        let root = m.spawn(BARE, 0, 7);
        for nth in 0..4 {
            m.spawn([PLAIN, LARGE][nth % 2], 1000, 3);
        }
        m.schedule();
        let mut written: Vec<(Pid, u64, u64)> = Vec::new();
        for (nth, (what, pick, page)) in steps.into_iter().enumerate() {
            let me = m.running();
            let heap = USER_HEAP + page * PAGE_SIZE;
            let at = [heap, heap, USER_DATA, USER_STACK + page % 16 * PAGE_SIZE][pick % 4];
            match what {
                0 => m.call(Call::Grow as u64, &[PAGE_SIZE * (1 + page / 4)]),
                // Root grows nothing, so that there is always somebody to be ended.
                1..=4 if me != root => {
                    let reserved = at < USER_HEAP || page < u64::from(m.process(me).heap);
                    let done = m.write(at, nth as u64);
                    prop_assert!(done.is_none() || reserved, "there was nothing at {at:#x}");
                    if done.is_some() {
                        written.retain(|(pid, place, _)| (*pid, *place) != (me, at));
                        written.push((me, at, nth as u64));
                    }
                }
                5 if me == root => {
                    let all = (1..PROCESS_SLOTS).filter(|slot| m.kernel.process_table()[*slot] != 0).count();
                    if all < 8 {
                        m.call(Call::Spawn as u64, &[PLAIN as u64, 1000, 3]);
                    }
                }
                6 => m.call(Call::Sleep as u64, &[page % 3]),
                7 if me != root && page == 0 => m.call(Call::Exit as u64, &[0]),
                _ => m.call(Call::Yield as u64, &[]),
            }
            for (pid, at, value) in written.clone() {
                if m.alive(pid) {
                    prop_assert_eq!(m.peek(pid, at), Some(value));
                }
            }
            let faults = m.traced(Kind::Fault).len() as u64;
            prop_assert_eq!(m.counters().crashes, m.counters().out_of_memory + faults);
        }
        prop_assert!(m.alive(root));
    }
}

#[test]
fn who_is_ended_while_it_waits_leaves_no_trace_of_it() {
    let (mut m, root, person) = two(120, TIMELESS);
    m.turn_to(person);
    m.fill(person, 20);
    m.act(person, Call::Sleep, &[50]);
    assert_eq!(m.state(person), Some(State::Sleeping));
    m.fill(root, m.kernel.info().free_frames - 1);
    assert_eq!(m.read(USER_DATA), Some(0));
    assert_eq!((m.running(), m.state(person)), (root, None));
    assert!(m.kernel.running_timers().is_empty());
    let frame = m.frame(root, USER_DATA).expect("it was given");
    assert_eq!(m.kind(frame), (FrameKind::User, root));
}
