//! Datagrams: what arrives, in which order, what becomes of damaged ones; buffers that come and go; waits
//! that end.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use abi::Pid;
use abi::flow::{Flow, Gate};
use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_DATA, USER_HEAP, USER_TEXT};
use abi::process::State;
use abi::syscall::{Call, DAMAGED, Error};
use abi::trace::Kind;

use super::machine::FakeMachine;
use super::matrix::{Matrix, PLAIN, TIMELESS};
use crate::base::hardware::Hardware;
use crate::ipc::PORT_DATAGRAMS;
use crate::kernel::Kernel;

pub(super) const PORT: u64 = 2000;
const FULL: u64 = PORT_DATAGRAMS as u64;

/// Whoever waits at the gateway is in its table, in order, and every buffer in use is in one port's queue.
pub(super) fn check(kernel: &mut Kernel<FakeMachine>) {
    let waiting = kernel.info().gate_waiting as usize;
    let gates = *kernel.gates();
    let mut gated = BTreeSet::new();
    let mut ranks = Vec::new();
    for gate in &gates[..waiting] {
        let slot = kernel.find(gate.pid).expect("the dead do not wait");
        let fixed = kernel.params().fix_priorities;
        let process = kernel.process(slot);
        assert_eq!(process.d.state, State::Gated as u8, "{} waits in the wrong place", gate.pid);
        assert_eq!((process.transfer.number, process.transfer.since), (gate.sequence, gate.since));
        assert_eq!(process.d.since, gate.since, "the age that a descriptor tells");
        assert!(gated.insert(gate.pid.slot()), "{} waits twice", gate.pid);
        ranks.push((if fixed { 0 } else { process.d.priority }, gate.sequence));
    }
    assert!(ranks.is_sorted(), "the queue is out of order");
    assert!(gates[waiting..].iter().all(|gate| *gate == Gate::default()));
    let mut buffers = BTreeSet::new();
    let ports: Vec<_> =
        kernel.ports().all().iter().map(|port| (port.number, port.owner, port.mail)).collect();
    for (number, _, mail) in &ports {
        assert!(*number != 0 || mail.count() == 0, "a closed port has datagrams");
        assert!(mail.count() <= PORT_DATAGRAMS);
        for buffer in mail.members(kernel.buffers()) {
            assert!(buffers.insert(buffer), "a buffer is in two queues");
            let (frame, _) = kernel.buffers().at(buffer);
            let entry = kernel.pager().entry(frame).expect("there is such a frame");
            assert_eq!((entry.kind, entry.owner), (FrameKind::Buffer as u8, Pid::NONE));
        }
    }
    let late = usize::from(kernel.impairment().is_late());
    assert_eq!(kernel.buffers().used() as usize, buffers.len() + late, "buffers were lost");
    assert_eq!(kernel.info().buffers_used, kernel.buffers().used());
    for slot in kernel.named_slots() {
        let process = kernel.process(slot);
        let (pid, state, place) = (process.d.pid, process.d.state, process.port.index());
        assert_eq!(
            state == State::Gated as u8,
            gated.contains(&slot.index()),
            "{pid} waits where nobody finds it"
        );
        if state == State::Collecting as u8 {
            assert_eq!((ports[place].1, ports[place].2.count()), (pid, 0), "{pid} collects in vain");
        }
    }
}

/// A process with memory to send from, that comes back from its system calls to where they can be made again.
pub(super) fn talker(m: &mut Matrix, uid: u32, priority: u8) -> Pid {
    let pid = m.spawn(PLAIN, uid, priority);
    m.process(pid).d.context.rip = USER_TEXT + 2;
    pid
}

/// The running process sends a datagram of two words.
pub(super) fn post(m: &mut Matrix, pid: Pid, number: u64) {
    m.write(USER_DATA, number).expect("it has data");
    m.write(USER_DATA + 8, !number).expect("it has data");
    m.act(pid, Call::Post, &[PORT, USER_DATA, 16]);
}

/// The owner of [`PORT`] collects one, which is there.
#[track_caller]
pub(super) fn collect(m: &mut Matrix, pid: Pid) -> u64 {
    m.act(pid, Call::Collect, &[PORT, USER_DATA + 512, 240]);
    assert_eq!((m.status(pid), m.results(pid)[1]), (0, 16));
    let number = m.peek(pid, USER_DATA + 512).expect("it has data");
    assert_eq!(m.peek(pid, USER_DATA + 520), Some(!number));
    number
}

/// The owner of [`PORT`], and somebody who sends.
fn pair(line: &str) -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(200, line);
    let (server, client) = (talker(&mut m, 100, 3), talker(&mut m, 1000, 3));
    m.schedule();
    m.act(server, Call::Bind, &[PORT]);
    (m, server, client)
}

#[test]
fn a_datagram_arrives_whole_with_its_sender_uid_and_number() {
    for waits in [false, true] {
        let (mut m, server, client) = pair(TIMELESS);
        let collect = [PORT, USER_DATA + 8, 240];
        if waits {
            m.act(server, Call::Collect, &collect);
            assert_eq!(m.state(server), Some(State::Collecting));
        }
        m.turn_to(client);
        for word in 0..30 {
            m.write(USER_DATA + word * 8, 1000 + word).expect("it has data");
        }
        m.ok(client, Call::Post, &[PORT, USER_DATA, 237]);
        m.turn_to(server);
        if !waits {
            m.write(USER_DATA + 8 + 232, u64::MAX).expect("it has data");
            m.ok(server, Call::Collect, &collect);
        }
        assert_eq!(
            (m.status(server), m.results(server)[..4].to_vec()),
            (0, vec![u64::from(client.0), 237, 1, 1000])
        );
        for word in 0..29 {
            assert_eq!(m.peek(server, USER_DATA + 8 + word * 8), Some(1000 + word));
        }
        // Five bytes of the last word were sent; what lies behind stays as it was.
        let behind = if waits { 0 } else { 0xff_ffff << 40 };
        assert_eq!(m.peek(server, USER_DATA + 8 + 232), Some(1029 | behind));
        let sent = m.last(Kind::Datagram);
        assert_eq!((sent.pid, sent.a, sent.b, sent.c), (client, PORT as u32, u64::from(server.0), 1));
        assert_eq!((m.counters().datagrams, m.counters().transfers, m.counters().transferred), (1, 2, 474));
        assert_eq!((m.process(server).d.messages, m.process(client).d.messages), (1, 1));
    }
}

#[test]
fn a_port_gives_its_datagrams_in_the_order_in_which_they_were_sent_and_holds_eight() {
    let (mut m, server, client) = pair(TIMELESS);
    m.turn_to(client);
    for number in 0..=FULL {
        post(&mut m, client, number);
    }
    assert_eq!((m.running(), m.state(client)), (server, Some(State::Gated)));
    let gated = m.last(Kind::Gated);
    assert_eq!((gated.pid, gated.a, gated.b, m.counters().gated), (client, 1, 16, 1));
    assert_eq!(
        (m.kernel.gates()[0].pid, m.kernel.gates()[0].bytes, m.process(client).d.peer),
        (client, 16, server)
    );
    let mut seen = vec![collect(&mut m, server)];
    assert_eq!((m.state(client), m.kernel.info().gate_waiting), (Some(State::Ready), 0));
    m.act(server, Call::Yield, &[]);
    m.again(client);
    assert_eq!((m.running(), m.status(client)), (client, 0));
    m.turn_to(server);
    seen.extend((0..FULL).map(|_| collect(&mut m, server)));
    assert_eq!(seen, (0..=FULL).collect::<Vec<_>>());
    m.act(server, Call::Collect, &[PORT, USER_DATA, 0]);
    assert_eq!(m.state(server), Some(State::Collecting));
}

#[test]
fn a_damaged_datagram_is_delivered_and_said_to_be_damaged() {
    // The first word of the data, the last, the number, the checksum itself.
    for (word, damage) in [(2, 1), (3, 1 << 63), (1, 1 << 32), (0, 1 << 40)] {
        let (mut m, server, client) = pair(TIMELESS);
        m.turn_to(client);
        post(&mut m, client, 7);
        post(&mut m, client, 8);
        let buffer = m.kernel.ports().all()[0].mail.members(m.kernel.buffers()).next().expect("one waits");
        let (frame, first) = m.kernel.buffers().at(buffer);
        m.kernel.hw().page(frame).0[first + word] ^= damage;
        m.turn_to(server);
        let sequence = |m: &mut Matrix| {
            m.ok(server, Call::Collect, &[PORT, USER_DATA, 240]);
            m.results(server)[2]
        };
        assert_eq!(sequence(&mut m) & DAMAGED, DAMAGED);
        assert_eq!(m.peek(server, USER_DATA), Some(if word == 2 { 7 ^ damage } else { 7 }));
        assert_eq!((m.counters().damaged, m.last(Kind::Damaged).pid), (1, server));
        assert_eq!(m.last(Kind::Damaged).b, u64::from(client.0));
        assert_eq!(sequence(&mut m), 2, "the next is sound");
        let flow = m.kernel.flows().iter().find(|flow| flow.from == client).expect("it is known");
        assert_eq!((flow.messages, flow.damaged), (2, 1));
    }
}

#[test]
fn the_flow_table_knows_who_sent_what_to_whom() {
    let (mut m, server, client) = pair(TIMELESS);
    m.act(server, Call::Receive, &[PORT]);
    m.act(client, Call::Call, &[PORT, 0, 0, USER_DATA, PAGE_SIZE]);
    m.act(server, Call::Reply, &[u64::from(client.0)]);
    post(&mut m, client, 1);
    let known: Vec<Flow> = m.kernel.flows().iter().filter(|flow| flow.from != Pid::NONE).copied().collect();
    let flow =
        Flow { from: client, to: server, port: PORT as u32, last: 0, messages: 2, damaged: 0, bytes: 4112 };
    assert_eq!(known, [flow]);
    assert_eq!((m.process(client).d.messages, m.process(server).d.messages), (3, 2));
}

#[test]
fn buffers_come_from_the_pager_and_go_back() {
    let mut m = Matrix::boot(200, "tick-entries=1000000 buffers=40");
    let (server, client) = (talker(&mut m, 100, 3), talker(&mut m, 1000, 3));
    m.schedule();
    m.write(USER_DATA, 0).expect("it has data");
    m.turn_to(client);
    m.write(USER_DATA, 0).expect("it has data");
    m.turn_to(server);
    let free = m.kernel.info().free_frames;
    for port in 0..6 {
        m.ok(server, Call::Bind, &[PORT + port]);
    }
    m.turn_to(client);
    for number in 0..40 {
        m.ok(client, Call::Post, &[PORT + number / FULL, USER_DATA, 240]);
    }
    assert_eq!((m.kernel.info().buffers_used, m.kernel.info().buffers_limit), (40, 40));
    assert_eq!(free - m.kernel.info().free_frames, 3);
    m.act(client, Call::Post, &[PORT + 5, USER_DATA, 0]);
    assert_eq!((m.running(), m.state(client)), (server, Some(State::Gated)));
    for number in 0..40 {
        m.ok(server, Call::Collect, &[PORT + number / FULL, USER_DATA, 240]);
    }
    assert_eq!((m.kernel.info().buffers_used, free - m.kernel.info().free_frames), (0, 1));
    // All that a port holds goes with its owner.
    m.act(server, Call::Yield, &[]);
    m.again(client);
    assert_eq!(m.kernel.info().buffers_used, 1);
    m.turn_to(server);
    m.act(server, Call::Exit, &[0]);
    assert_eq!(m.kernel.info().buffers_used, 0);
}

#[test]
fn what_makes_no_sense_is_refused_and_holds_no_buffer() {
    let (mut m, server, client) = pair(TIMELESS);
    let (data, end) = (USER_DATA, USER_DATA + PAGE_SIZE);
    let collects = [
        ([PORT, 1, 8], Error::Invalid),
        ([PORT, !7, 8], Error::BadAddress),
        ([PORT + 1, data, 8], Error::NotFound),
        ([0, data, 8], Error::NotFound),
    ];
    for (arguments, error) in collects {
        m.refused(server, Call::Collect, &arguments, error);
    }
    m.turn_to(client);
    m.refused(client, Call::Collect, &[PORT, data, 8], Error::Denied);
    let posts = [
        ([PORT, data, 241], Error::Invalid),
        ([PORT, data + 4, 8], Error::Invalid),
        ([PORT, 0, 8], Error::BadAddress),
        ([PORT, !7, 240], Error::BadAddress),
        ([PORT, USER_HEAP, 8], Error::BadAddress),
        ([PORT, end - 8, 16], Error::BadAddress),
        ([PORT + 1, data, 8], Error::NotFound),
        ([0, data, 8], Error::NotFound),
    ];
    for (arguments, error) in posts {
        m.refused(client, Call::Post, &arguments, error);
    }
    assert_eq!((m.kernel.info().buffers_used, m.counters().datagrams, m.counters().gated), (0, 0, 0));
    // What a collector's memory is not fit for waits until it is.
    post(&mut m, client, 1);
    post(&mut m, client, 2);
    m.turn_to(server);
    m.refused(server, Call::Collect, &[PORT, USER_TEXT, 8], Error::BadAddress);
    assert_eq!([collect(&mut m, server), collect(&mut m, server)], [1, 2]);
    // The same while it waits: the sender has done its part.
    m.act(server, Call::Collect, &[PORT, USER_TEXT, 8]);
    post(&mut m, client, 3);
    assert_eq!(m.status(client), 0);
    m.act(client, Call::Yield, &[]);
    m.again(server);
    assert_eq!(m.error(server), Some(Error::BadAddress));
    assert_eq!(collect(&mut m, server), 3);
}

#[test]
fn nothing_that_came_in_time_is_no_reply_and_no_datagram_either() {
    let (mut m, server, client) = pair("tick-entries=1");
    let waits: [(Call, [u64; 5], State); 2] = [
        (Call::Receive, [PORT, 5, 0, 0, 0], State::Receiving),
        (Call::Collect, [PORT, USER_DATA, 8, 5, 0], State::Collecting),
    ];
    for (call, arguments, state) in waits {
        m.turn_to(server);
        let from = m.kernel.info().tick;
        m.act(server, call, &arguments);
        while m.state(server) == Some(state) {
            m.act(client, Call::Query, &[]);
        }
        assert_eq!((m.kernel.info().tick, m.error(server)), (from + 6, Some(Error::TimedOut)));
    }
    // Nobody gave up on anybody.
    assert_eq!((m.counters().timeouts, m.traced(Kind::Timeout).len()), (0, 0));
    // What comes in time stops the timer, and the port is as good as before.
    m.turn_to(server);
    m.act(server, Call::Receive, &[PORT, 50]);
    m.turn_to(client);
    m.act(client, Call::Call, &[PORT]);
    assert!(m.kernel.running_timers().is_empty());
    m.act(server, Call::Reply, &[u64::from(client.0), 0, 0, PORT, 5]);
    assert_eq!((m.running(), m.state(server)), (client, Some(State::Receiving)));
    let from = m.kernel.info().tick;
    m.act(client, Call::Sleep, &[100]);
    assert_eq!(
        (m.running(), m.error(server), m.kernel.info().tick),
        (server, Some(Error::TimedOut), from + 5)
    );
    m.act(server, Call::Collect, &[PORT, USER_DATA, 8, 500]);
    m.turn_to(client);
    post(&mut m, client, 4);
    m.turn_to(server);
    assert_eq!((m.status(server), m.kernel.running_timers().is_empty()), (0, true));
}

#[test]
fn a_kernel_process_has_no_memory_that_datagrams_could_come_from() {
    let (mut m, server, _) = pair(TIMELESS);
    let kernel = m.spawn_kernel(1);
    m.act(server, Call::Yield, &[]);
    m.refused(kernel, Call::Post, &[PORT, USER_DATA, 8], Error::BadAddress);
}

#[test]
fn without_memory_a_datagram_is_refused_and_does_not_wait() {
    let (mut m, _, client) = pair(TIMELESS);
    m.turn_to(client);
    m.write(USER_DATA, 0).expect("it has data");
    let mut page = m.ok(client, Call::Grow, &[1 << 21]);
    while m.kernel.info().free_frames > 0 {
        m.write(page, 0).expect("it has a heap");
        page += PAGE_SIZE;
    }
    m.refused(client, Call::Post, &[PORT, USER_DATA, 8], Error::Exhausted);
}
