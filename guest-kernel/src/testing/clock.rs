//! The virtual clock: ticks by entries, timers in order, idle time that jumps, the trace ring.

use std::vec::Vec;

use abi::info::Doorbell;
use abi::process::State;
use abi::syscall::Call;
use abi::{GuestPhys, Pid};

use super::matrix::{BARE, Matrix, TIMELESS};
use crate::base::TRACE_SLOTS;

#[test]
fn a_tick_passes_with_every_so_many_entries() {
    let mut m = Matrix::boot(100, "tick-entries=4");
    let pid = m.spawn(BARE, 1000, 3);
    m.schedule();
    for entry in 1..=20 {
        m.ok(pid, Call::Query, &[0]);
        assert_eq!((m.kernel.info().entries, m.kernel.info().tick), (entry, entry / 4));
    }
}

#[test]
fn a_host_that_listens_is_told_of_each_tick_and_no_other_is() {
    for listens in [false, true] {
        let boot = if listens { Matrix::boot_with_host } else { Matrix::boot };
        let mut m = boot(100, "tick-entries=2");
        let pid = m.spawn(BARE, 1000, 3);
        m.schedule();
        m.ok(pid, Call::Query, &[0]);
        assert!(m.kernel.hw().doorbells.is_empty());
        m.ok(pid, Call::Query, &[0]);
        m.act(pid, Call::Sleep, &[30]);
        let rings = if listens { 2 } else { 0 };
        assert_eq!(m.kernel.hw().doorbells, std::vec![Doorbell::Tick.value(GuestPhys(0)); rings]);
    }
}

#[test]
fn idle_time_jumps_to_the_next_timer_and_no_further() {
    let mut m = Matrix::boot(100, TIMELESS);
    let [long, short] = core::array::from_fn(|_| m.spawn(BARE, 1000, 3));
    m.schedule();
    m.act(long, Call::Sleep, &[1000]);
    m.act(short, Call::Sleep, &[10]);
    assert_eq!((m.running(), m.kernel.info().tick, m.status(short)), (short, 10, 0));
    m.act(short, Call::Sleep, &[10]);
    assert_eq!((m.running(), m.kernel.info().tick), (short, 20));
    m.act(short, Call::Exit, &[]);
    assert_eq!((m.running(), m.kernel.info().tick), (long, 1000));
}

#[test]
fn sleepers_wake_in_the_order_of_their_ticks_and_equal_ones_in_turn() {
    let mut m = Matrix::boot(100, TIMELESS);
    let all: [Pid; 4] = core::array::from_fn(|_| m.spawn(BARE, 1000, 3));
    m.schedule();
    for (pid, ticks) in all.into_iter().zip([30, 10, 20, 10]) {
        m.act(pid, Call::Sleep, &[ticks]);
    }
    let mut woken = Vec::new();
    for _ in all {
        woken.push((m.running(), m.kernel.info().tick));
        let pid = m.running();
        m.act(pid, Call::Sleep, &[1000]);
    }
    assert_eq!(woken, [(all[1], 10), (all[3], 10), (all[2], 20), (all[0], 30)]);
}

#[test]
fn a_sleep_of_no_time_is_one_of_a_tick() {
    let mut m = Matrix::boot(100, "tick-entries=3");
    let [sleeper, other] = core::array::from_fn(|_| m.spawn(BARE, 1000, 3));
    m.schedule();
    m.act(sleeper, Call::Sleep, &[0]);
    m.ok(other, Call::Query, &[0]);
    assert_eq!(m.state(sleeper), Some(State::Sleeping));
    m.act(other, Call::Query, &[0]);
    assert_eq!((m.running(), m.kernel.info().tick), (sleeper, 1));
}

#[test]
fn nobody_can_sleep_until_time_runs_over() {
    let mut m = Matrix::boot(100, "tick-entries=1");
    let pid = m.spawn(BARE, 1000, 3);
    m.schedule();
    m.act(pid, Call::Sleep, &[u64::MAX]);
    assert_eq!(m.kernel.info().tick, u64::MAX);
    m.act(pid, Call::Sleep, &[1]);
    m.ok(pid, Call::Query, &[0]);
    assert_eq!(m.kernel.info().tick, u64::MAX);
}

#[test]
fn a_descriptor_says_when_its_process_was_seen() {
    let mut m = Matrix::boot(100, "tick-entries=1");
    let [seen, unseen] = [m.spawn(BARE, 1000, 3), m.spawn(BARE, 1000, 4)];
    m.schedule();
    for entry in 0..5 {
        m.ok(seen, Call::Query, &[0]);
        assert_eq!((m.process(seen).d.seen, m.process(seen).d.entries), (entry, entry + 1));
    }
    assert_eq!((m.process(unseen).d.seen, m.process(unseen).d.entries), (0, 0));
}

#[test]
fn a_full_trace_is_drained_before_anything_is_lost() {
    let mut m = Matrix::boot_with_host(100, TIMELESS);
    let pid = m.spawn(BARE, 1000, 3);
    m.schedule();
    for _ in 0..3 * TRACE_SLOTS {
        // Refused, and traced.
        m.call(u64::MAX, &[]);
        assert_eq!(m.running(), pid);
        assert!(m.kernel.info().trace_head - m.kernel.hw().tail <= TRACE_SLOTS as u64, "records were lost");
    }
    assert_eq!(m.kernel.hw().doorbells, [Doorbell::TraceFull.value(GuestPhys(0)); 3]);
}

#[test]
fn without_a_host_the_trace_keeps_what_is_newest() {
    let mut m = Matrix::boot(100, TIMELESS);
    m.spawn(BARE, 1000, 3);
    m.schedule();
    for number in 0..2 * TRACE_SLOTS as u64 {
        m.call(100 + number, &[]);
    }
    let (head, ring) = (m.kernel.info().trace_head, &m.kernel.ring());
    let refused = |back: u64| ring[(head - 1 - back) as usize % TRACE_SLOTS].a;
    assert!(
        (0..TRACE_SLOTS as u32).all(|back| refused(u64::from(back)) == 2 * TRACE_SLOTS as u32 + 99 - back)
    );
    assert!(m.kernel.hw().doorbells.is_empty());
}
