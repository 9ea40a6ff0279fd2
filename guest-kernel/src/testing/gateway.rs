//! The gateway: copies that are right to the byte, and who waits for room, in which order, and what becomes
//! of them.

use std::vec;
use std::vec::Vec;

use abi::Pid;
use abi::layout::{PAGE_SIZE, USER_DATA, USER_END, USER_HEAP, USER_TEXT};
use abi::process::State;
use abi::syscall::{Call, Error};
use abi::trace::Kind;
use proptest::prelude::*;

use super::matrix::{BARE, LARGE, Matrix, TIMELESS};
use super::network::{PORT, collect, post, talker};
use crate::base::index::Slot;
use crate::ipc::GATE_SLOTS;
use crate::mem::copy::UserPtr;

/// The owner of [`PORT`], who sleeps for 1000 ticks while its queue is full, and somebody who has filled it.
fn full(line: &str) -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(400, line);
    let (server, filler) = (talker(&mut m, 0, 0), talker(&mut m, 1000, 1));
    m.schedule();
    m.ok(server, Call::Bind, &[PORT]);
    m.act(server, Call::Sleep, &[1000]);
    for number in 0..8 {
        post(&mut m, filler, number);
    }
    (m, server, filler)
}

/// Who waits, in the order in which they will be served.
fn waiting(m: &Matrix) -> Vec<Pid> {
    m.kernel.gates().iter().map(|gate| gate.pid).take_while(|pid| *pid != Pid::NONE).collect()
}

/// A circle of processes each of which waits for the next, if there is one.
fn circle(m: &mut Matrix, from: Pid) -> Option<Vec<Pid>> {
    let mut seen = Vec::new();
    let mut here = from;
    while m.state(here).is_some_and(|s| matches!(s, State::Gated | State::Sending | State::AwaitingReply)) {
        if let Some(first) = seen.iter().position(|pid| *pid == here) {
            return Some(seen.split_off(first));
        }
        seen.push(here);
        here = m.process(here).d.peer;
    }
    None
}

#[test]
fn the_urgent_come_first_and_equals_in_turn_and_with_the_fix_the_oldest() {
    for fixed in [false, true] {
        let (mut m, server, filler) =
            full(if fixed { "tick-entries=1000000 fix.priorities=1" } else { TIMELESS });
        let [lesser, second, urgent] = [4, 4, 2].map(|priority| talker(&mut m, 1000, priority));
        m.act(filler, Call::Sleep, &[2000]);
        m.act(urgent, Call::Sleep, &[10]);
        post(&mut m, lesser, 100);
        post(&mut m, second, 101);
        assert_eq!((m.running(), m.kernel.info().tick), (urgent, 10));
        post(&mut m, urgent, 102);
        let order = if fixed { [lesser, second, urgent] } else { [urgent, lesser, second] };
        assert_eq!(waiting(&m), order);
        assert_eq!(m.last(Kind::Gated).a, if fixed { 3 } else { 1 });
        assert_eq!((m.running(), m.kernel.info().tick), (server, 1000));
        collect(&mut m, server);
        assert_eq!((waiting(&m), m.state(order[0])), (order[1..].to_vec(), Some(State::Ready)));
        assert_eq!(m.process(order[0]).d.peer, Pid::NONE);
    }
}

#[test]
fn whoever_is_let_in_too_late_comes_back_to_its_place() {
    let (mut m, server, filler) = full(TIMELESS);
    let [first, second] = [4, 4].map(|priority| talker(&mut m, 1000, priority));
    m.act(filler, Call::Sleep, &[1000]);
    post(&mut m, first, 100);
    post(&mut m, second, 101);
    let gate = m.kernel.gates()[0];
    assert_eq!(m.running(), server);
    collect(&mut m, server);
    m.act(server, Call::Sleep, &[10]);
    // Somebody who asks just now is quicker.
    post(&mut m, filler, 8);
    m.act(filler, Call::Sleep, &[1000]);
    m.again(first);
    assert_eq!((waiting(&m), m.kernel.gates()[0]), (vec![first, second], gate));
    assert_eq!(m.counters().gated, 2, "it is one transfer that waits");
}

#[test]
fn a_waiters_age_is_seen_through_all_its_attempts_and_each_stay_is_counted_once() {
    let (mut m, server, filler) = full(TIMELESS);
    let waiter = talker(&mut m, 1000, 4);
    m.act(filler, Call::Sleep, &[10_000]);
    post(&mut m, waiter, 100);
    let (asked, waited) = (m.kernel.gates()[0].since, m.process(waiter).d.waited);
    for attempt in 1..=3 {
        m.act(server, Call::Sleep, &[7]);
        assert_eq!((m.running(), m.process(waiter).d.since), (server, asked), "attempt {attempt}");
        // It is let in, and its place is taken before it comes.
        collect(&mut m, server);
        let now = m.kernel.info().tick;
        assert_eq!(m.process(waiter).d.since, now, "it waits for the CPU since now");
        m.write(USER_DATA, 5).expect("it has data");
        m.ok(server, Call::Post, &[PORT, USER_DATA, 16]);
        m.act(server, Call::Sleep, &[3]);
        m.again(waiter);
        assert_eq!((waiting(&m), m.kernel.gates()[0].since), (vec![waiter], asked));
        assert_eq!(m.process(waiter).d.since, asked, "attempt {attempt}");
        let gated = m.last(Kind::Gated);
        assert_eq!(gated.c, u64::from(gated.tick) - asked, "and the trace tells it, too");
    }
    let now = m.kernel.info().tick;
    collect(&mut m, server);
    assert_eq!(m.process(waiter).d.waited - waited, now - asked, "all that it has waited, once");
}

#[test]
fn what_a_signal_handler_sends_is_another_transfer() {
    let (mut m, server, filler) = full(TIMELESS);
    let waiter = talker(&mut m, 1000, 4);
    m.act(filler, Call::Sleep, &[10_000]);
    m.ok(waiter, Call::Handle, &[USER_TEXT + 2, USER_DATA + 512, USER_TEXT]);
    post(&mut m, waiter, 100);
    let (asked, number) = (m.kernel.gates()[0].since, m.kernel.gates()[0].sequence);
    m.act(server, Call::Sleep, &[5]);
    // Let in, and sent a signal before it can make its call again.
    collect(&mut m, server);
    m.ok(server, Call::Signal, &[u64::from(waiter.0), 20]);
    m.write(USER_DATA, 5).expect("it has data");
    m.ok(server, Call::Post, &[PORT, USER_DATA, 16]);
    m.act(server, Call::Sleep, &[5]);
    assert_eq!(m.running(), waiter);
    let start = m.kernel.info().tick;
    m.act(waiter, Call::Post, &[PORT, USER_DATA, 16]);
    let gate = m.kernel.gates()[0];
    assert!(gate.since == start && gate.sequence > number, "the handler's own: {gate:?}");
    m.turn_to(server);
    collect(&mut m, server);
    m.act(server, Call::Sleep, &[5]);
    m.again(waiter);
    m.act(waiter, Call::Return, &[]);
    m.again(waiter);
    let gate = m.kernel.gates()[0];
    assert_eq!(
        (gate.pid, gate.since, gate.sequence),
        (waiter, asked, number),
        "the one that was interrupted"
    );
}

#[test]
fn under_pressure_a_lesser_one_waits_for_ever_and_with_the_fix_it_does_not() {
    for fixed in [false, true] {
        let (mut m, server, filler) =
            full(if fixed { "tick-entries=1000000 fix.priorities=1" } else { TIMELESS });
        let lesser = talker(&mut m, 1000, 5);
        m.act(filler, Call::Sleep, &[1]);
        post(&mut m, lesser, 99);
        m.turn_to(filler);
        for round in 0..50 {
            post(&mut m, filler, 100 + round);
            assert_eq!((m.running(), m.state(filler)), (server, Some(State::Gated)));
            collect(&mut m, server);
            m.act(server, Call::Sleep, &[1000]);
            if m.running() == lesser {
                break;
            }
            m.again(filler);
        }
        let state = if fixed { State::Running } else { State::Gated };
        assert_eq!(m.state(lesser), Some(state));
    }
}

#[test]
fn a_sender_gives_up_in_time_however_often_it_was_let_in() {
    let (mut m, server, filler) = full(TIMELESS);
    m.act(filler, Call::Sleep, &[10_000]);
    let client = talker(&mut m, 1000, 4);
    m.turn_to(server);
    m.act(server, Call::Sleep, &[10]);
    m.act(client, Call::Post, &[PORT, USER_DATA, 16, 30]);
    assert_eq!(m.state(client), Some(State::Gated));
    let asked = m.kernel.info().tick - 10;
    collect(&mut m, server);
    // Its place is taken before it comes.
    m.write(USER_DATA, 5).expect("it has data");
    m.ok(server, Call::Post, &[PORT, USER_DATA, 16]);
    m.act(server, Call::Sleep, &[1000]);
    m.again(client);
    assert_eq!((m.running(), m.kernel.info().tick), (client, asked + 30));
    assert_eq!((m.error(client), m.counters().timeouts, waiting(&m)), (Some(Error::TimedOut), 1, vec![]));
    assert_eq!((m.last(Kind::Timeout).pid, m.last(Kind::Timeout).b), (client, u64::from(server.0)));
    assert_eq!(m.process(client).d.context.rip, USER_TEXT + 2, "it goes on behind its call");
    // Another transfer has another number.
    m.act(client, Call::Post, &[PORT, USER_DATA, 16]);
    assert!(m.kernel.gates()[0].sequence > 10 && m.kernel.gates()[0].since == asked + 30);
}

#[test]
fn the_death_of_the_port_lets_all_in_who_waited_for_it() {
    let (mut m, server, filler) = full(TIMELESS);
    let all = [4, 4, 4].map(|priority| talker(&mut m, 1000, priority));
    m.act(filler, Call::Sleep, &[10_000]);
    for pid in all {
        post(&mut m, pid, 1);
    }
    m.act(server, Call::Exit, &[0]);
    assert_eq!((waiting(&m), m.kernel.info().buffers_used), (vec![], 0));
    for pid in all {
        m.again(pid);
        assert_eq!((m.running(), m.error(pid)), (pid, Some(Error::NotFound)));
        m.act(pid, Call::Yield, &[]);
    }
}

#[test]
fn a_dead_one_leaves_its_place_and_what_it_was_let_in_for() {
    let (mut m, server, filler) = full(TIMELESS);
    let all = [4, 4, 4].map(|priority| talker(&mut m, 1000, priority));
    m.act(filler, Call::Sleep, &[10_000]);
    for pid in all {
        post(&mut m, pid, 1);
    }
    m.ok(server, Call::Kill, &[u64::from(all[1].0)]);
    assert_eq!(waiting(&m), [all[0], all[2]]);
    collect(&mut m, server);
    assert_eq!(waiting(&m), [all[2]]);
    m.ok(server, Call::Kill, &[u64::from(all[0].0)]);
    assert_eq!((waiting(&m), m.state(all[2])), (vec![], Some(State::Ready)));
    m.act(server, Call::Sleep, &[1]);
    m.again(all[2]);
    assert_eq!(m.status(all[2]), 0);
}

#[test]
fn the_queue_is_bounded() {
    let (mut m, _, filler) = full(TIMELESS);
    let all: Vec<Pid> = (0..GATE_SLOTS).map(|_| talker(&mut m, 1000, 4)).collect();
    m.act(filler, Call::Sleep, &[500]);
    for pid in &all {
        post(&mut m, *pid, 1);
        assert_eq!(m.state(*pid), Some(State::Gated));
    }
    assert_eq!((m.running(), m.kernel.info().gate_waiting as usize), (filler, GATE_SLOTS));
    m.refused(filler, Call::Post, &[PORT, USER_DATA, 16], Error::Exhausted);
    assert_eq!(waiting(&m), all);
}

/// A server with requests in all buffers there are, clients who want to send more, and a reply to be sent.
/// Gives the circle in which they wait, if there is one.
fn replies_without_reserve(buffers: u64) -> Option<Vec<Pid>> {
    let mut m = Matrix::boot(200, &std::format!("tick-entries=1000000 buffers={buffers}"));
    let server = talker(&mut m, 100, 3);
    let clients = [talker(&mut m, 1000, 2), talker(&mut m, 1000, 2)];
    m.schedule();
    // A client's port for the reply, and one request from each; then all of them ask for more.
    m.ok(clients[0], Call::Bind, &[PORT + 1]);
    for pid in clients {
        m.turn_to(pid);
        m.act(pid, Call::Sleep, &[1]);
    }
    m.ok(server, Call::Bind, &[PORT]);
    m.act(server, Call::Sleep, &[10]);
    for pid in clients {
        m.turn_to(pid);
        post(&mut m, pid, 1);
        if m.running() == pid {
            post(&mut m, pid, 2);
        }
        if m.running() == pid {
            // Both requests are under way: it waits for the first reply.
            m.act(pid, Call::Sleep, &[100]);
        }
    }
    m.turn_to(server);
    collect(&mut m, server);
    // The buffer that this has freed goes to a more urgent client, if one waits for it.
    if let Some(pid) = clients.into_iter().find(|pid| m.running() == *pid) {
        m.again(pid);
        if m.running() == pid {
            m.act(pid, Call::Sleep, &[100]);
        }
    }
    m.turn_to(server);
    m.act(server, Call::Post, &[PORT + 1, USER_DATA, 16]);
    circle(&mut m, server)
}

#[test]
fn without_a_reserve_for_replies_a_server_waits_for_itself_and_with_room_it_does_not() {
    let circle = replies_without_reserve(3).expect("all buffers hold requests to the one who would free one");
    assert_eq!(circle.len(), 1);
    assert_eq!(replies_without_reserve(8), None);
}

#[test]
fn a_user_address_is_a_word_in_user_memory() {
    for (at, bytes) in [(USER_DATA + 1, 8), (USER_DATA + 4, 8), (USER_DATA, 257), (USER_DATA, u64::MAX)] {
        assert_eq!(UserPtr::new(at, bytes), Err(Error::Invalid));
    }
    for (at, bytes) in [(0, 0), (USER_TEXT - 8, 8), (USER_END - 8, 16), (USER_END, 8), (u64::MAX - 7, 16)] {
        assert_eq!(UserPtr::new(at, bytes), Err(Error::BadAddress));
    }
    assert_eq!(UserPtr::new(USER_END - 8, 8).map(UserPtr::words), Ok(1));
    assert_eq!(UserPtr::new(USER_DATA, 9).map(UserPtr::words), Ok(2));
}

#[test]
fn only_what_a_process_may_do_itself_is_done_for_it() {
    let mut m = Matrix::boot(200, TIMELESS);
    let pid = m.spawn(LARGE, 1000, 3);
    let root = m.spawn(BARE, 0, 4);
    m.schedule();
    let slot = Slot::of(pid);
    let mut words = [7; 2];
    let text = UserPtr::new(USER_TEXT, 16).expect("it is user memory");
    assert!(m.kernel.copy_in(slot, text, &mut words).is_ok());
    assert_eq!(m.kernel.copy_out(slot, text, &words), Err(Error::BadAddress));
    let heap = UserPtr::new(USER_HEAP, 16).expect("it is user memory");
    assert_eq!(m.kernel.copy_in(slot, heap, &mut words), Err(Error::BadAddress));
    assert_eq!(m.counters().transfers, 1);
    // Kernel processes have no user memory, and neither have the dead.
    let kernel = m.spawn_kernel(1);
    let data = UserPtr::new(USER_DATA, 16).expect("it is user memory");
    assert_eq!(m.kernel.copy_in(Slot::of(kernel), data, &mut words), Err(Error::BadAddress));
    let child = Pid(m
        .kernel
        .spawn(crate::proc::lives::Birth { program: LARGE, parent: root, uid: 0, priority: 3, argument: 0 })
        .expect("there is memory")
        .0);
    m.kernel.end(Slot::of(child), 1);
    assert_eq!(m.state(child), Some(State::Zombie));
    assert_eq!(m.kernel.copy_in(Slot::of(child), data, &mut words), Err(Error::BadAddress));
}

proptest! {
    /// Two pages of data, one word of which is the border between them.
    #[test]
    fn copies_are_right_to_the_byte(
        at in 0u64..96,
        bytes in 0u64..257,
        content in prop::collection::vec(any::<u64>(), 32),
        flip in (0usize..32, 0u32..64),
    ) {
        let mut m = Matrix::boot(100, TIMELESS);
        let pid = m.spawn(LARGE, 1000, 3);
        m.schedule();
        m.watchful = false;
        let slot = Slot::of(pid);
        let to = UserPtr::new(USER_DATA + PAGE_SIZE - 384 + at * 8, bytes).expect("it is user memory");
        for word in 0..192 {
            m.write(USER_DATA + PAGE_SIZE - 512 + word * 8, u64::MAX).expect("it has data");
        }
        let sum = m.kernel.copy_out(slot, to, &content).expect("it is there");
        let memory = |m: &mut Matrix| -> Vec<u8> {
            let words = (0..192).map(|word| m.peek(pid, USER_DATA + PAGE_SIZE - 512 + word * 8).expect("it is there"));
            words.flat_map(u64::to_le_bytes).collect()
        };
        let seen = memory(&mut m);
        let sent: Vec<u8> = content.iter().flat_map(|word| word.to_le_bytes()).collect();
        let start = (128 + at * 8) as usize;
        let (inside, end) = (&seen[start..][..bytes as usize], start + bytes as usize);
        prop_assert_eq!(inside, &sent[..bytes as usize]);
        prop_assert!(seen[..start].iter().chain(&seen[end..]).all(|byte| *byte == 0xff));
        let mut back = [0; 32];
        prop_assert_eq!(m.kernel.copy_in(slot, to, &mut back), Ok(sum));
        let back_bytes: Vec<u8> = back.iter().flat_map(|word| word.to_le_bytes()).collect();
        prop_assert_eq!(&back_bytes[..bytes as usize], &sent[..bytes as usize]);
        prop_assert!(back_bytes[bytes as usize..].iter().all(|byte| *byte == 0));
        prop_assert_eq!(memory(&mut m), seen, "reading changes nothing");
        prop_assert_eq!((m.counters().transfers, m.counters().transferred), (2, 2 * bytes));
        // One bit that is wrong is noticed.
        let (word, bit) = flip;
        if (word as u64 * 8) + u64::from(bit / 8) < bytes {
            let mut wrong = content.clone();
            wrong[word] ^= 1 << bit;
            prop_assert_ne!(m.kernel.copy_out(slot, to, &wrong), Ok(sum));
        }
    }
}
