//! Messages: who gets them, who gets the CPU, and what becomes of those who wait in vain.

use abi::process::State;
use abi::syscall::{Call, Error};
use abi::trace::Kind;
use abi::{Frame, Pid};

use super::matrix::{BARE, Matrix, PLAIN, TIMELESS};

const PORT: u64 = 2000;

/// A server that waits for messages on [`PORT`], and a client that runs.
fn pair(line: &str) -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(200, line);
    let server = m.spawn(PLAIN, 100, 3);
    m.schedule();
    m.ok(server, Call::Bind, &[PORT]);
    let client = m.spawn(PLAIN, 1000, 3);
    m.act(server, Call::Receive, &[PORT]);
    (m, server, client)
}

#[test]
fn a_message_carries_two_words_and_the_senders_uid_and_the_reply_two_words() {
    let (mut m, server, client) = pair(TIMELESS);
    m.act(client, Call::Call, &[PORT, 11, 22]);
    assert_eq!(m.running(), server);
    assert_eq!(m.status(server), 0);
    assert_eq!(m.results(server), [u64::from(client.0), 11, 22, 0, 0, 1000]);
    assert_eq!(m.state(client), Some(State::AwaitingReply));
    m.act(server, Call::Reply, &[u64::from(client.0), 33, 44]);
    assert_eq!(m.running(), client);
    assert_eq!((m.status(client), m.results(client)[..2].to_vec()), (0, std::vec![33, 44]));
    assert_eq!(m.counters().messages, 2);
    let (send, reply) = (m.last(Kind::Send), m.last(Kind::Reply));
    assert_eq!((send.pid, send.a, send.b), (client, PORT as u32, u64::from(server.0)));
    assert_eq!((reply.pid, reply.b), (server, u64::from(client.0)));
}

#[test]
fn call_and_reply_hand_the_cpu_over_past_the_scheduler() {
    let (mut m, server, client) = pair(TIMELESS);
    // Somebody of the same priority is ready all the time, and is not asked.
    let other = m.spawn(PLAIN, 1000, 3);
    let before = m.counters();
    for _ in 0..3 {
        m.act(client, Call::Call, &[PORT]);
        m.act(server, Call::Reply, &[u64::from(client.0), 0, 0, PORT]);
        assert_eq!(m.running(), client);
        assert_eq!(m.state(server), Some(State::Receiving));
    }
    let after = m.counters();
    assert_eq!((after.handoffs - before.handoffs, after.switches - before.switches), (6, 0));
    assert_eq!(m.state(other), Some(State::Ready));
}

#[test]
fn a_replier_without_a_port_stays_ready() {
    let (mut m, server, client) = pair(TIMELESS);
    m.act(client, Call::Call, &[PORT]);
    m.act(server, Call::Reply, &[u64::from(client.0)]);
    assert_eq!((m.running(), m.state(server)), (client, Some(State::Ready)));
    m.turn_to(server);
    assert_eq!(m.status(server), 0);
}

#[test]
fn senders_are_received_in_the_order_in_which_they_came() {
    let mut m = Matrix::boot(200, TIMELESS);
    let server = m.spawn(PLAIN, 100, 2);
    let clients: [Pid; 4] = core::array::from_fn(|_| m.spawn(BARE, 1000, 3));
    m.schedule();
    m.ok(server, Call::Bind, &[PORT]);
    m.act(server, Call::Sleep, &[1]);
    for (nth, client) in clients.iter().enumerate() {
        m.act(*client, Call::Call, &[PORT, nth as u64]);
    }
    // All wait, so time has jumped to where the server wakes.
    let mut got = std::vec![m.ok(server, Call::Receive, &[PORT])];
    for _ in 1..4 {
        let sender = got[got.len() - 1];
        m.act(server, Call::Reply, &[sender, 0, 0, PORT]);
        // The reply gave the CPU away, with the next message taken already.
        m.turn_to(server);
        assert_eq!(m.results(server)[1], got.len() as u64);
        got.push(m.results(server)[0]);
    }
    assert_eq!(got, clients.map(|client| u64::from(client.0)));
}

#[test]
fn a_reply_reaches_only_who_waits_for_it() {
    let (mut m, server, client) = pair(TIMELESS);
    let other = m.spawn(PLAIN, 1000, 3);
    m.act(client, Call::Call, &[PORT]);
    // Nobody, oneself, a process that waits for nothing, a slot out of range.
    for to in [0, u64::from(server.0), u64::from(other.0), 0xffff] {
        m.refused(server, Call::Reply, &[to], Error::Dead);
    }
    m.turn_to(other);
    m.refused(other, Call::Reply, &[u64::from(client.0)], Error::Dead);
    assert_eq!(m.state(client), Some(State::AwaitingReply));
}

#[test]
fn a_server_whose_client_is_gone_serves_on() {
    let (mut m, server, client) = pair(TIMELESS);
    let next = m.spawn(PLAIN, 1000, 3);
    m.act(client, Call::Call, &[PORT]);
    m.act(server, Call::Reply, &[0, 0, 0, PORT]);
    assert_eq!((m.running(), m.state(server)), (next, Some(State::Receiving)));
    m.act(next, Call::Call, &[PORT, 5]);
    assert_eq!((m.running(), m.results(server)[1]), (server, 5));
}

#[test]
fn calls_that_make_no_sense_are_refused() {
    let (mut m, server, client) = pair(TIMELESS);
    m.refused(client, Call::Call, &[PORT + 1], Error::NotFound);
    m.refused(client, Call::Call, &[0], Error::NotFound);
    m.refused(client, Call::Receive, &[PORT], Error::Denied);
    m.refused(client, Call::Receive, &[PORT + 1], Error::NotFound);
    m.refused(client, Call::Reply, &[u64::from(server.0), 0, 0, PORT], Error::Denied);
    m.refused(client, Call::Reply, &[u64::from(server.0), 0, 0, PORT + 1], Error::NotFound);
    m.ok(client, Call::Bind, &[PORT + 1]);
    m.refused(client, Call::Call, &[PORT + 1], Error::Invalid);
    m.call(0x800, &[]);
    assert_eq!(m.error(client), Some(Error::Invalid));
    m.call(u64::MAX, &[]);
    assert_eq!(m.error(client), Some(Error::Invalid));
}

#[test]
fn a_port_has_one_owner_and_there_are_64() {
    let (mut m, _, client) = pair(TIMELESS);
    m.refused(client, Call::Bind, &[0], Error::Invalid);
    m.refused(client, Call::Bind, &[PORT], Error::Invalid);
    for port in 1..64 {
        m.ok(client, Call::Bind, &[PORT + port]);
    }
    m.refused(client, Call::Bind, &[PORT + 64], Error::Exhausted);
    // The ports of the dead are there for others.
    let next = m.spawn(PLAIN, 1000, 3);
    m.act(client, Call::Exit, &[]);
    for port in 1..64 {
        m.ok(next, Call::Bind, &[PORT + port]);
    }
    m.refused(next, Call::Bind, &[PORT + 64], Error::Exhausted);
}

#[test]
fn a_sender_that_nobody_receives_gives_up_in_time() {
    let (mut m, server, client) = pair("tick-entries=1");
    let owner = m.spawn(PLAIN, 1000, 3);
    m.turn_to(owner);
    m.act(owner, Call::Bind, &[PORT + 1]);
    m.turn_to(client);
    let called = m.kernel.info().tick;
    m.act(client, Call::Call, &[PORT + 1, 7, 7, 0, 0, 10]);
    assert_eq!(m.state(client), Some(State::Sending));
    while m.state(client) == Some(State::Sending) {
        m.act(owner, Call::Query, &[]);
    }
    assert_eq!((m.kernel.info().tick, m.error(client)), (called + 11, Some(Error::TimedOut)));
    assert_eq!((m.counters().timeouts, m.last(Kind::Timeout).b), (1, u64::from(owner.0)));
    // Its message is gone: the owner waits for another.
    m.turn_to(owner);
    m.act(owner, Call::Receive, &[PORT + 1]);
    assert_eq!((m.state(owner), m.state(server)), (Some(State::Receiving), Some(State::Receiving)));
}

#[test]
fn a_client_whose_reply_is_late_gives_up_and_the_reply_finds_nobody() {
    let (mut m, server, client) = pair("tick-entries=1");
    m.act(client, Call::Call, &[PORT, 0, 0, 0, 0, 3]);
    while m.state(client) == Some(State::AwaitingReply) {
        m.act(server, Call::Query, &[]);
    }
    assert_eq!((m.error(client), m.counters().timeouts), (Some(Error::TimedOut), 1));
    m.turn_to(server);
    m.act(server, Call::Reply, &[u64::from(client.0)]);
    assert_eq!(m.error(server), Some(Error::Dead));
}

#[test]
fn a_reply_in_time_stops_the_timer() {
    let (mut m, server, client) = pair("tick-entries=1");
    m.act(client, Call::Call, &[PORT, 0, 0, 0, 0, 3]);
    m.act(server, Call::Reply, &[u64::from(client.0), 9, 0, PORT]);
    for _ in 0..10 {
        m.ok(client, Call::Query, &[0]);
    }
    assert_eq!(m.counters().timeouts, 0);
    // A call that fails at once leaves no timer either.
    m.refused(client, Call::Call, &[PORT, 0, 0, 1, 4096, 1], Error::Invalid);
    m.refused(client, Call::Call, &[PORT + 9, 0, 0, 0, 0, 1], Error::NotFound);
    assert!(m.kernel.running_timers().is_empty());
}

#[test]
fn everybody_who_waits_for_a_dead_server_is_told() {
    let (mut m, server, client) = pair(TIMELESS);
    let queued: [Pid; 2] = core::array::from_fn(|_| m.spawn(PLAIN, 1000, 3));
    m.act(client, Call::Call, &[PORT, 1, 1, 0, 0, 500]);
    assert_eq!(m.running(), server);
    for each in queued {
        m.turn_to(each);
        m.act(each, Call::Call, &[PORT, 1, 1, 0, 0, 500]);
        assert_eq!(m.state(each), Some(State::Sending));
    }
    m.act(server, Call::Exit, &[3]);
    for each in [queued[0], queued[1], client] {
        assert_eq!(m.running(), each, "they are told in order");
        assert_eq!(m.error(each), Some(Error::Dead));
        m.refused(each, Call::Call, &[PORT], Error::NotFound);
        m.act(each, Call::Yield, &[]);
    }
    assert!(m.kernel.running_timers().is_empty());
    m.ok(queued[0], Call::Bind, &[PORT]);
}

#[test]
fn a_dead_sender_has_sent_nothing() {
    let (mut m, server, client) = pair(TIMELESS);
    let (root, second) = (m.spawn(PLAIN, 0, 3), m.spawn(PLAIN, 1000, 3));
    m.act(client, Call::Call, &[PORT, 1]);
    m.turn_to(second);
    m.act(second, Call::Call, &[PORT, 2]);
    let third = m.spawn(PLAIN, 1000, 3);
    m.turn_to(third);
    m.act(third, Call::Call, &[PORT, 3]);
    m.turn_to(root);
    m.ok(root, Call::Kill, &[u64::from(second.0)]);
    m.turn_to(server);
    m.act(server, Call::Reply, &[u64::from(client.0), 0, 0, PORT]);
    assert_eq!((m.running(), m.results(server)[..2].to_vec()), (client, std::vec![u64::from(third.0), 3]));
}

#[test]
fn a_more_urgent_process_runs_as_soon_as_it_can() {
    let mut m = Matrix::boot(200, TIMELESS);
    let urgent = m.spawn(PLAIN, 1000, 1);
    let (server, root) = (m.spawn(PLAIN, 100, 3), m.spawn(PLAIN, 0, 4));
    m.schedule();
    assert_eq!(m.running(), urgent);
    m.act(urgent, Call::Sleep, &[1]);
    m.server(server, PORT);
    // Nobody but root can run, and it does; the timer of the urgent one is far away in a timeless world.
    assert_eq!(m.running(), root);
    m.act(root, Call::Sleep, &[5]);
    assert_eq!((m.running(), m.kernel.info().tick), (urgent, 1));
    // Woken by the death of the one it waits for, it runs before its killer goes on.
    m.act(urgent, Call::Call, &[PORT]);
    assert_eq!(m.running(), server);
    m.act(server, Call::Sleep, &[100]);
    assert_eq!((m.running(), m.kernel.info().tick), (root, 5));
    m.act(root, Call::Kill, &[u64::from(server.0)]);
    assert_eq!((m.running(), m.error(urgent)), (urgent, Some(Error::Dead)));
    assert_eq!((m.state(root), m.status(root)), (Some(State::Ready), 0));
}

#[test]
fn processes_of_one_priority_take_turns_and_a_tick_ends_a_turn() {
    let mut m = Matrix::boot(200, "tick-entries=4");
    let all: [Pid; 3] = core::array::from_fn(|_| m.spawn(BARE, 1000, 4));
    let idle = m.spawn(BARE, 1000, 5);
    m.schedule();
    for turn in 0..9 {
        for _ in 0..4 {
            assert_eq!(m.running(), all[turn % 3]);
            m.call(Call::Query as u64, &[0]);
        }
    }
    assert_eq!(m.state(idle), Some(State::Ready));
    // Each runs in its own address space.
    let roots = all.map(|pid| m.process(pid).root());
    assert!(roots[0] != roots[1] && roots[1] != roots[2] && !roots.contains(&Frame(1)));
}
