//! Hardware that does wrong by order of the host: what is lost, what comes unasked or late, and what is given
//! back.

use std::vec;
use std::vec::Vec;

use abi::Pid;
use abi::info::{
    COMMAND_DELAY_DATAGRAM, COMMAND_DOUBLE_DATAGRAMS, COMMAND_DROP_DATAGRAMS, COMMAND_GIVE_BACK,
    COMMAND_LOSE_INTERRUPTS, COMMAND_RAISE_INTERRUPT, COMMAND_WITHHOLD,
};
use abi::process::State;
use abi::syscall::Call;
use abi::trace::Kind;

use super::matrix::{BARE, Matrix, TIMELESS};
use super::network::{PORT, collect, post, talker};

/// Somebody who attends to the timer, and somebody who runs.
fn attended(entries: u32) -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(200, &std::format!("tick-entries={entries}"));
    let oracle = m.spawn_kernel(0);
    let user = m.spawn(BARE, 1000, 7);
    m.schedule();
    m.act(oracle, Call::Acknowledge, &[]);
    (m, oracle, user)
}

/// The ticks at which, and the entries after which the attendant is woken, while somebody else makes so many
/// entries.
fn interrupts(m: &mut Matrix, oracle: Pid, entries: u32) -> Vec<(u64, u32)> {
    let mut woken = Vec::new();
    for entry in 1..=entries {
        m.call(Call::Query as u64, &[]);
        if m.running() == oracle {
            woken.push((m.kernel.info().tick, entry));
            m.act(oracle, Call::Acknowledge, &[]);
        }
    }
    woken
}

#[test]
fn interrupts_are_lost_and_time_goes_on() {
    let (mut m, oracle, _) = attended(4);
    m.command(COMMAND_LOSE_INTERRUPTS, 2);
    // Of the first tick an entry is over already. Commands are taken at a tick, before its interrupt.
    assert_eq!(interrupts(&mut m, oracle, 16), [(3, 11), (4, 15)]);
    assert_eq!(m.counters().missed, 0, "what is lost was never there");
}

#[test]
fn an_interrupt_that_nobody_asked_for_comes_half_way_and_moves_no_time() {
    let (mut m, oracle, _) = attended(4);
    m.command(COMMAND_RAISE_INTERRUPT, 1);
    assert_eq!(interrupts(&mut m, oracle, 12), [(1, 3), (1, 5), (2, 7), (3, 11)]);
}

#[test]
fn an_idle_processor_is_woken_by_it_and_finds_nothing_to_do() {
    let (mut m, oracle, user) = attended(4);
    m.call(Call::Query as u64, &[]);
    m.command(COMMAND_RAISE_INTERRUPT, 1);
    interrupts(&mut m, oracle, 3);
    let (tick, acknowledged) = (m.kernel.info().tick, m.counters().acknowledged);
    m.act(user, Call::Sleep, &[5]);
    assert_eq!((m.running(), m.kernel.info().tick), (oracle, tick));
    m.act(oracle, Call::Acknowledge, &[]);
    assert_eq!(m.counters().acknowledged, acknowledged + 1);
    assert_eq!(m.kernel.info().tick, tick + 5, "then it sleeps as long as it wanted to");
}

#[test]
fn a_tick_of_one_entry_has_no_middle() {
    let (mut m, oracle, _) = attended(1);
    m.command(COMMAND_RAISE_INTERRUPT, 1);
    assert_eq!(interrupts(&mut m, oracle, 2), [(2, 1), (3, 2)]);
    assert_eq!(m.counters().missed, 1, "both come at once");
}

#[test]
fn memory_that_is_withheld_was_free_and_comes_back() {
    let mut m = Matrix::boot(200, TIMELESS);
    m.spawn(BARE, 1000, 7);
    m.schedule();
    let free = m.kernel.info().free_frames;
    m.command(COMMAND_WITHHOLD, 10);
    m.tick();
    assert_eq!(m.kernel.info().free_frames, free - 10);
    m.command(COMMAND_WITHHOLD, u32::MAX);
    m.tick();
    assert_eq!((m.kernel.info().free_frames, m.counters().early_reuses), (0, 0));
    m.command(COMMAND_GIVE_BACK, 3);
    m.tick();
    assert_eq!(m.kernel.info().free_frames, 3);
    m.command(COMMAND_GIVE_BACK, u32::MAX);
    m.tick();
    assert_eq!(m.kernel.info().free_frames, free);
    assert_eq!(m.traced(Kind::Given).len(), m.traced(Kind::Freed).len() + given_at_birth(&m));
}

/// Frames that belong to somebody: all that were given and not freed.
fn given_at_birth(m: &Matrix) -> usize {
    m.traced(Kind::Given).iter().filter(|record| record.pid != Pid::NONE).count()
}

/// The owner of the port, and somebody who sends.
fn pair() -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(200, TIMELESS);
    let (server, client) = (talker(&mut m, 100, 3), talker(&mut m, 1000, 3));
    m.schedule();
    m.act(server, Call::Bind, &[PORT]);
    m.turn_to(client);
    (m, server, client)
}

fn collect_all(m: &mut Matrix, server: Pid) -> Vec<u64> {
    m.turn_to(server);
    let waiting = m.kernel.ports().all()[0].mail.count();
    (0..waiting).map(|_| collect(m, server)).collect()
}

#[test]
fn datagrams_are_lost_and_their_sender_does_not_learn_of_it() {
    let (mut m, server, client) = pair();
    m.command(COMMAND_DROP_DATAGRAMS, 2);
    m.tick();
    m.turn_to(client);
    for number in 0..4 {
        post(&mut m, client, number);
        assert_eq!(m.status(client), 0);
    }
    assert_eq!(collect_all(&mut m, server), [2, 3]);
    assert_eq!((m.traced(Kind::Datagram).len(), m.kernel.info().buffers_used), (4, 0));
}

#[test]
fn datagrams_arrive_twice_also_where_somebody_waits() {
    for waits in [false, true] {
        let (mut m, server, client) = pair();
        m.command(COMMAND_DOUBLE_DATAGRAMS, 1);
        m.tick();
        if waits {
            m.turn_to(server);
            m.act(server, Call::Collect, &[PORT, abi::layout::USER_DATA + 512, 240]);
            assert_eq!(m.state(server), Some(State::Collecting));
        }
        m.turn_to(client);
        post(&mut m, client, 5);
        post(&mut m, client, 6);
        let rest = if waits { vec![5, 6] } else { vec![5, 5, 6] };
        assert_eq!(collect_all(&mut m, server), rest, "{waits}");
        assert_eq!(m.counters().damaged, 0);
    }
}

#[test]
fn a_datagram_that_is_late_arrives_behind_others_or_not_at_all_if_its_port_is_gone() {
    for closes in [false, true] {
        let (mut m, server, client) = pair();
        m.command(COMMAND_DELAY_DATAGRAM, 3);
        m.tick();
        m.turn_to(client);
        post(&mut m, client, 1);
        post(&mut m, client, 2);
        assert_eq!(m.kernel.info().buffers_used, 2);
        m.tick();
        m.tick();
        assert_eq!(collect_all(&mut m, server), [2]);
        if closes {
            m.act(server, Call::Exit, &[0]);
        }
        m.tick();
        if closes {
            assert_eq!(m.kernel.info().buffers_used, 0);
        } else {
            assert_eq!(collect_all(&mut m, server), [1]);
        }
    }
}
