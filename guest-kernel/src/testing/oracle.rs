//! The scheduler and its process: who attends to the timer, missed ticks, orders and accounts, lent
//! priorities, age.

use abi::Pid;
use abi::process::State;
use abi::syscall::{Call, Error};
use abi::trace::Kind;
use proptest::prelude::*;

use super::matrix::{BARE, Matrix, PLAIN, TIMELESS};
use crate::base::index::Slot;
use crate::sched::UNKNOWN_BURST;

const PORT: u64 = 2000;

/// A kernel with somebody who attends to the timer, waiting for it.
fn attended(line: &str) -> (Matrix, Pid) {
    let mut m = Matrix::boot(200, line);
    let oracle = m.spawn_kernel(0);
    m.spawn(BARE, 1000, 7);
    m.schedule();
    m.act(oracle, Call::Acknowledge, &[]);
    assert_eq!(m.state(oracle), Some(State::Attending));
    (m, oracle)
}

/// Others rest until it is the turn of `pid`; the scheduler's process does its work.
fn until(m: &mut Matrix, oracle: Pid, pid: Pid) {
    for _ in 0..1000 {
        match m.running() {
            running if running == pid => return,
            running if running == oracle => m.act(oracle, Call::Acknowledge, &[]),
            _ => m.call(Call::Yield as u64, &[]),
        }
    }
    panic!("it is never the turn of {pid}");
}

/// Whoever runs does so for as many entries; the scheduler's process does its work in between.
fn pass(m: &mut Matrix, oracle: Pid, entries: u32) {
    for _ in 0..entries {
        let call = if m.running() == oracle { Call::Acknowledge } else { Call::Query };
        m.call(call as u64, &[]);
    }
}

#[test]
fn the_timers_interrupt_wakes_its_attendant_and_timers_expire_when_it_acknowledges() {
    let (mut m, oracle) = attended("tick-entries=3");
    let sleeper = m.spawn(BARE, 1000, 3);
    until(&mut m, oracle, sleeper);
    m.act(sleeper, Call::Sleep, &[3]);
    let due = m.kernel.info().tick + 3;
    while m.state(sleeper) == Some(State::Sleeping) {
        let before = (m.kernel.info().tick, m.counters().acknowledged);
        if m.running() == oracle {
            m.act(oracle, Call::Acknowledge, &[]);
            assert_eq!((m.kernel.info().tick, m.counters().acknowledged), (before.0, before.1 + 1));
            assert_eq!(m.running() == sleeper, before.0 >= due);
        } else {
            m.call(Call::Query as u64, &[]);
            assert_eq!(m.running() == oracle, m.kernel.info().tick > before.0, "it comes with each tick");
        }
        assert!(m.kernel.info().tick <= due);
    }
    assert_eq!((m.state(oracle), m.counters().missed), (Some(State::Attending), 0));
}

#[test]
fn ticks_that_nobody_acknowledges_are_counted_and_serve_nobody() {
    let (mut m, oracle) = attended("tick-entries=2");
    let (sleeper, worker) = (m.spawn(BARE, 1000, 1), m.spawn(BARE, 1000, 3));
    until(&mut m, oracle, sleeper);
    m.act(sleeper, Call::Sleep, &[2]);
    while m.running() != oracle {
        m.call(Call::Query as u64, &[]);
    }
    // Instead of acknowledging, the scheduler's process waits for something else.
    let (raised, acknowledged) = (m.kernel.info().tick, m.counters().acknowledged);
    m.act(oracle, Call::Sleep, &[1]);
    for _ in 0..8 {
        m.act(worker, Call::Query, &[]);
    }
    assert_eq!((m.kernel.info().tick, m.counters().missed), (raised + 4, 4), "the clock is not held back");
    assert_eq!((m.traced(Kind::Missed).len(), m.last(Kind::Missed).b), (4, 4));
    assert_eq!((m.state(sleeper), m.counters().acknowledged), (Some(State::Sleeping), acknowledged));
}

#[test]
fn its_own_entries_raise_no_interrupt_and_none_is_missed_at_any_pace() {
    for ticks in 1..5 {
        let (mut m, oracle) = attended(&std::format!("tick-entries={ticks}"));
        pass(&mut m, oracle, 60);
        assert!(m.counters().acknowledged >= 60 / (ticks + 1) - 1);
        assert_eq!(m.counters().missed, 0);
    }
}

#[test]
fn only_one_attends_and_only_in_the_kernel() {
    let (mut m, oracle) = attended(TIMELESS);
    let user = m.running();
    m.refused(user, Call::Acknowledge, &[], Error::Denied);
    let second = m.spawn_kernel(0);
    m.turn_to(second);
    m.refused(second, Call::Acknowledge, &[], Error::Denied);
    assert_eq!(m.state(oracle), Some(State::Attending));
}

#[test]
fn idle_time_jumps_to_the_next_timer_and_the_attendant_wakes_its_owner() {
    let (mut m, oracle) = attended(TIMELESS);
    let only = m.running();
    m.act(only, Call::Sleep, &[500]);
    assert_eq!((m.running(), m.kernel.info().tick), (oracle, 500));
    m.act(oracle, Call::Acknowledge, &[]);
    assert_eq!((m.running(), m.kernel.info().tick, m.counters().missed), (only, 500, 0));
}

#[test]
fn short_bursts_go_before_long_ones_of_their_priority() {
    let mut m = Matrix::boot(200, TIMELESS);
    let long = m.spawn(BARE, 1000, 3);
    m.schedule();
    for round in 0..6 {
        for _ in 0..12 {
            m.ok(long, Call::Query, &[]);
        }
        let short = if round == 5 { Some(m.spawn(BARE, 1000, 3)) } else { None };
        m.act(long, Call::Sleep, &[if short.is_some() { 100 } else { 1 }]);
    }
    let short = m.running();
    for _ in 0..6 {
        m.act(short, Call::Sleep, &[1]);
    }
    assert!(m.process(long).d.predicted > 9 * 16 && m.process(short).d.predicted < 2 * 16);
    // Both wake at the same tick, the long one first.
    let due = m.kernel.running_timers()[0].1 - m.kernel.info().tick;
    m.act(short, Call::Sleep, &[due]);
    assert_eq!((m.running(), m.state(long)), (short, Some(State::Ready)));
}

#[test]
fn descriptors_tell_what_a_process_has_done_and_waited_for() {
    let (mut m, oracle) = attended("tick-entries=1");
    let (server, client) = (m.spawn(PLAIN, 100, 3), m.spawn(PLAIN, 1000, 3));
    until(&mut m, oracle, server);
    m.call(Call::Bind as u64, &[PORT]);
    until(&mut m, oracle, client);
    let called = m.kernel.info().tick + 1;
    m.call(Call::Call as u64, &[PORT]);
    let d = &m.process(client).d;
    assert_eq!((State::from_raw(d.state), d.since, d.peer), (Some(State::Sending), called, server));
    let (waited, bursts) = (d.waited, d.bursts);
    assert_eq!(bursts, 1);
    until(&mut m, oracle, server);
    m.call(Call::Receive as u64, &[PORT]);
    assert_eq!((m.state(client), m.process(client).d.peer), (Some(State::AwaitingReply), server));
    until(&mut m, oracle, server);
    m.call(Call::Reply as u64, &[u64::from(client.0)]);
    until(&mut m, oracle, client);
    let (now, d) = (m.kernel.info().tick, m.process(client).d);
    assert_eq!((d.peer, d.waited - waited), (Pid::NONE, now - called));
    let all = [oracle, server, client].map(|pid| m.process(pid).d);
    let rest = m.kernel.info().counters;
    assert_eq!(rest.bursts, all.iter().map(|d| u64::from(d.bursts)).sum::<u64>());
    assert_eq!(rest.misjudged, all.iter().map(|d| u64::from(d.misjudged)).sum::<u64>());
}

/// A server of priority 6 that has work for somebody of priority 2; somebody of priority 4 never rests.
fn inverted(line: &str) -> (Matrix, [Pid; 4]) {
    let (mut m, oracle) = attended(line);
    let server = m.spawn(PLAIN, 100, 6);
    m.turn_to(server);
    m.ok(server, Call::Bind, &[PORT]);
    let (spinner, client) = (m.spawn(BARE, 1000, 4), m.spawn(PLAIN, 1000, 2));
    m.call(Call::Yield as u64, &[]);
    m.act(client, Call::Call, &[PORT]);
    (m, [oracle, server, spinner, client])
}

#[test]
fn without_the_fix_an_urgent_client_waits_for_a_server_that_never_runs() {
    let (mut m, [oracle, server, spinner, client]) = inverted("tick-entries=50");
    pass(&mut m, oracle, 6000);
    assert_eq!((m.state(client), m.state(server)), (Some(State::Sending), Some(State::Ready)));
    assert_eq!((m.process(server).d.effective, m.process(spinner).d.waited), (6, 0));
    assert!(m.traced(Kind::Boosted).is_empty());
}

#[test]
fn a_server_has_its_clients_priority_until_it_replies() {
    let (mut m, [_, server, spinner, client]) = inverted("tick-entries=1000000 fix.priorities=1");
    assert_eq!((m.running(), m.process(server).d.effective), (server, 2));
    assert_eq!(
        (m.last(Kind::Boosted).pid, m.last(Kind::Boosted).a, m.last(Kind::Boosted).b),
        (server, 2, u64::from(client.0))
    );
    m.ok(server, Call::Receive, &[PORT]);
    assert_eq!(m.process(server).d.effective, 2);
    m.act(server, Call::Reply, &[u64::from(client.0)]);
    assert_eq!((m.running(), m.process(server).d.effective), (client, 6));
    assert_eq!((m.last(Kind::Boosted).pid, m.last(Kind::Boosted).a), (server, 6));
    m.act(client, Call::Sleep, &[1000]);
    assert_eq!(m.running(), spinner);
}

#[test]
fn a_priority_is_lent_along_a_chain_and_taken_back_when_the_lender_dies() {
    let mut m = Matrix::boot(300, "tick-entries=1000000 fix.priorities=1");
    let (back, front) = (m.spawn(PLAIN, 100, 6), m.spawn(PLAIN, 100, 5));
    m.schedule();
    for (pid, port) in [(front, PORT), (back, PORT + 1)] {
        m.turn_to(pid);
        m.ok(pid, Call::Bind, &[port]);
        m.act(pid, Call::Sleep, &[1]);
    }
    m.turn_to(front);
    m.act(front, Call::Call, &[PORT + 1]);
    assert_eq!((m.state(front), m.process(back).d.effective), (Some(State::Sending), 5));
    let (root, client) = (m.spawn(PLAIN, 0, 3), m.spawn(PLAIN, 1000, 1));
    m.call(Call::Yield as u64, &[]);
    m.act(client, Call::Call, &[PORT]);
    assert_eq!([front, back].map(|pid| m.process(pid).d.effective), [1, 1]);
    assert_eq!(m.running(), back);
    m.act(back, Call::Sleep, &[1000]);
    m.act(root, Call::Kill, &[u64::from(client.0)]);
    assert_eq!([front, back].map(|pid| m.process(pid).d.effective), [5, 5]);
}

#[test]
fn with_the_fix_nobody_waits_for_the_cpu_for_ever() {
    for (fix, runs) in [(0, false), (1, true)] {
        let (mut m, oracle) = attended(&std::format!("tick-entries=2 fix.priorities={fix}"));
        let (old, spinner) = (m.spawn(BARE, 1000, 6), m.spawn(BARE, 1000, 3));
        until(&mut m, oracle, spinner);
        let mut seen = false;
        for _ in 0..3000 {
            pass(&mut m, oracle, 1);
            seen |= m.running() == old;
        }
        assert_eq!(seen, runs);
        // What it was lifted by is gone once it has run.
        assert!(!runs || m.process(old).d.bursts == 0);
    }
}

#[test]
fn with_the_fix_long_bursts_do_not_starve_behind_short_ones() {
    for (fix, runs) in [(0, false), (1, true)] {
        let (mut m, oracle) = attended(&std::format!("tick-entries=1 fix.priorities={fix}"));
        let (long, short) = (m.spawn(BARE, 1000, 3), [m.spawn(BARE, 1000, 3), m.spawn(BARE, 1000, 3)]);
        m.process(long).d.predicted = 100 * 16;
        m.kernel.schedule();
        let mut seen = false;
        for step in 0..4000 {
            let running = m.running();
            // It was put into its queue before it was known for its long bursts.
            seen |= step > 100 && running == long;
            match running {
                _ if running == oracle => m.call(Call::Acknowledge as u64, &[]),
                _ if short.contains(&running) => m.call(Call::Sleep as u64, &[1]),
                _ => m.call(Call::Query as u64, &[]),
            }
        }
        assert_eq!(seen, runs, "two that take turns leave nothing of the CPU to a third of their priority");
    }
}

/// What the running process of a small world does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Call(u64, u64),
    Receive,
    Reply(usize),
    Sleep(u64),
    Yield,
    Query,
    Spawn(u64),
    Kill(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u64..3, 0u64..6).prop_map(|(port, ticks)| Step::Call(port, ticks)),
        3 => Just(Step::Receive),
        4 => any::<usize>().prop_map(Step::Reply),
        2 => (1u64..5).prop_map(Step::Sleep),
        1 => Just(Step::Yield),
        3 => Just(Step::Query),
        1 => (1u64..7).prop_map(Step::Spawn),
        1 => any::<usize>().prop_map(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The invariants say what must hold: whoever waits lends, whoever does not has taken back.
    #[test]
    fn whatever_happens_priorities_are_lent_by_those_who_wait(
        steps in prop::collection::vec(step(), 0..300), ticks in 1u32..6, fix in 0u32..2,
    ) {
        let (mut m, oracle) = attended(&std::format!("tick-entries={ticks} fix.priorities={fix}"));
        let keeper = m.running();
        let servers: [Pid; 3] = core::array::from_fn(|nth| m.spawn(BARE, 0, 2 + 2 * nth as u8));
        for steps in steps {
            let me = m.running();
            let mut everybody = std::vec::Vec::new();
            for slot in m.kernel.named_slots() {
                if ![oracle, keeper].map(Slot::of).contains(&slot) {
                    everybody.push(m.kernel.process(slot).d.pid);
                }
            }
            let pick = |nth: usize| everybody.get(nth % everybody.len().max(1)).map_or(0, |pid| u64::from(pid.0));
            let own = servers.iter().position(|pid| *pid == me).map(|nth| PORT + nth as u64);
            if me == oracle {
                m.call(Call::Acknowledge as u64, &[]);
                continue;
            }
            if let Some(port) = own.filter(|port| m.kernel.ports().list().all(|each| each.1 != *port)) {
                m.call(Call::Bind as u64, &[port]);
                continue;
            }
            match steps {
                _ if me == keeper => m.call(Call::Query as u64, &[]),
                Step::Call(port, ticks) => m.call(Call::Call as u64, &[PORT + port, 0, 0, 0, 0, ticks]),
                Step::Receive => m.call(Call::Receive as u64, &[own.unwrap_or(0)]),
                Step::Reply(to) => m.call(Call::Reply as u64, &[pick(to), 0, 0, own.unwrap_or(0)]),
                Step::Sleep(ticks) => m.call(Call::Sleep as u64, &[ticks]),
                Step::Yield => m.call(Call::Yield as u64, &[]),
                Step::Query => m.call(Call::Query as u64, &[]),
                Step::Spawn(priority) => m.call(Call::Spawn as u64, &[BARE as u64, 0, priority]),
                Step::Kill(whom) => m.call(Call::Kill as u64, &[pick(whom)]),
            }
        }
        let newborn = m.spawn(BARE, 1000, 3);
        prop_assert_eq!(m.process(newborn).d.predicted, UNKNOWN_BURST);
        prop_assert_eq!(m.counters().missed, 0);
        prop_assert!(fix == 1 || m.traced(Kind::Boosted).is_empty());
    }
}
