//! Faults: the stack and the heap grow where they may; whatever else faults ends, alone.

use abi::Pid;
use abi::layout::{
    DIRECT_MAP, PAGE_SIZE, USER_DATA, USER_END, USER_HEAP, USER_HEAP_END, USER_STACK, USER_STACK_TOP,
    USER_TEXT, USER_WINDOWS,
};
use abi::process::State;
use abi::syscall::{Call, Error};
use abi::trace::Kind;

use super::machine::Access::{self, Fetch, Read, Write};
use super::machine::{FETCH, FROM_USER, PROTECTION, WRITING};
use super::matrix::{BARE, LARGE, Matrix, PLAIN, TIMELESS};

/// A parent that waits for its child, which runs, and a neighbour with a word in its data.
fn child(program: usize) -> (Matrix, Pid, Pid, Pid) {
    let mut m = Matrix::boot(200, TIMELESS);
    let (neighbour, parent) = (m.spawn(PLAIN, 1000, 3), m.spawn(PLAIN, 0, 3));
    m.schedule();
    m.write(USER_DATA, 4711).expect("it has data");
    m.turn_to(parent);
    let child = Pid(m.ok(parent, Call::Spawn, &[program as u64, 1000, 3]) as u32);
    m.act(parent, Call::Wait, &[]);
    m.turn_to(child);
    (m, parent, child, neighbour)
}

/// The running child comes to its end by an exception, and nobody else is harmed.
#[track_caller]
fn ends(m: &mut Matrix, [parent, child, neighbour]: [Pid; 3], vector: u64, address: u64) {
    let fault = m.last(Kind::Fault);
    assert_eq!((fault.pid, fault.a, fault.b, fault.c), (child, vector as u32, USER_TEXT, address));
    assert_eq!(m.state(child), None, "its parent waited");
    m.turn_to(parent);
    assert_eq!(m.results(parent)[..2], [u64::from(child.0), 512 + vector]);
    assert_eq!(m.peek(neighbour, USER_DATA), Some(4711));
    assert_eq!((m.kernel.info().alive, m.counters().crashes), (2, 1));
}

#[test]
fn the_stack_grows_by_the_page_that_is_touched() {
    let (mut m, _, child, _) = child(PLAIN);
    let free = m.kernel.info().free_frames;
    for (grown, page) in [14, 0, 7, 7].into_iter().enumerate() {
        assert_eq!(m.read(USER_STACK + page * PAGE_SIZE + 8), Some(0));
        assert_eq!(m.kernel.info().free_frames, free - (grown as u32 + 1).min(3));
    }
    m.write(USER_STACK, 9).expect("the last page is its own");
    assert_eq!((m.running(), m.peek(child, USER_STACK)), (child, Some(9)));
}

#[test]
fn the_heap_grows_by_whole_pages_that_are_zero() {
    let (mut m, _, child, _) = child(PLAIN);
    assert_eq!(m.ok(child, Call::Grow, &[1]), USER_HEAP);
    assert_eq!(m.ok(child, Call::Grow, &[PAGE_SIZE + 1]), USER_HEAP + PAGE_SIZE);
    for page in 0..3 {
        assert_eq!(m.read(USER_HEAP + page * PAGE_SIZE), Some(0));
        m.write(USER_HEAP + page * PAGE_SIZE, page).expect("it is its own");
    }
    assert_eq!(m.read(USER_HEAP + 3 * PAGE_SIZE), None, "that was one too far");
}

#[test]
fn a_heap_that_would_be_too_large_is_refused_whole() {
    let (mut m, _, child, _) = child(PLAIN);
    let free = m.kernel.info().free_frames;
    let most = USER_HEAP_END - USER_HEAP;
    for bytes in [0, most + 1, u64::MAX] {
        m.refused(child, Call::Grow, &[bytes], Error::Invalid);
    }
    assert_eq!(m.kernel.info().free_frames, free);
    m.ok(child, Call::Grow, &[PAGE_SIZE]);
    m.refused(child, Call::Grow, &[most], Error::Invalid);
}

#[test]
fn memory_of_the_dead_is_empty_when_others_get_it() {
    let (mut m, parent, child, _) = child(PLAIN);
    m.ok(child, Call::Grow, &[50 * PAGE_SIZE]);
    for page in 0..50 {
        m.write(USER_HEAP + page * PAGE_SIZE, 0xdead).expect("it is its own");
    }
    m.act(child, Call::Exit, &[]);
    m.turn_to(parent);
    m.ok(parent, Call::Grow, &[60 * PAGE_SIZE]);
    assert!((0..60).all(|page| m.read(USER_HEAP + page * PAGE_SIZE) == Some(0)));
}

#[test]
fn what_a_program_may_not_do_ends_it_and_harms_no_other() {
    let forbidden: [(u64, Access); 14] = [
        (0, Read),
        (USER_TEXT, Write),
        (USER_TEXT + 2 * PAGE_SIZE, Write),
        (USER_TEXT + 2 * PAGE_SIZE, Fetch),
        (USER_TEXT + 3 * PAGE_SIZE, Read),
        (USER_DATA, Fetch),
        (USER_DATA + 3 * PAGE_SIZE, Write),
        (USER_STACK - 8, Write),
        (USER_STACK, Fetch),
        (USER_WINDOWS, Fetch),
        (USER_HEAP, Write),
        (USER_END, Read),
        (DIRECT_MAP, Read),
        (u64::MAX, Fetch),
    ];
    for (at, access) in forbidden {
        let (mut m, parent, child, neighbour) = child(LARGE);
        assert_eq!(m.touch(at, access), None, "{access:?} of {at:#x}");
        ends(&mut m, [parent, child, neighbour], 14, at);
    }
}

#[test]
fn a_page_that_is_there_is_never_given_again() {
    // Whatever the processor says about an access to a page that is mapped: it was not allowed.
    for error in [PROTECTION, PROTECTION | WRITING, FETCH, FETCH | PROTECTION] {
        let (mut m, parent, child, neighbour) = child(BARE);
        m.exception(14, error | FROM_USER, USER_STACK_TOP - 8);
        ends(&mut m, [parent, child, neighbour], 14, USER_STACK_TOP - 8);
    }
}

#[test]
fn other_exceptions_end_their_process_with_their_number() {
    for vector in [0, 1, 3, 6, 13, 16, 17, 19] {
        let (mut m, parent, child, neighbour) = child(BARE);
        m.exception(vector, 0, 0);
        ends(&mut m, [parent, child, neighbour], vector, 0);
    }
}

#[test]
fn a_server_that_faults_leaves_its_client_alive() {
    let (mut m, _, server, client) = child(PLAIN);
    m.server(server, 2000);
    m.turn_to(client);
    m.act(client, Call::Call, &[2000, 0, 0, USER_DATA, PAGE_SIZE, 100]);
    assert_eq!((m.running(), m.state(client)), (server, Some(State::AwaitingReply)));
    m.exception(13, 0, 0);
    m.turn_to(client);
    assert_eq!((m.error(client), m.read(USER_DATA)), (Some(Error::Dead), Some(4711)));
}

#[test]
#[should_panic(expected = "a kernel process faulted")]
fn the_kernels_own_fault_stops_everything() {
    let mut m = Matrix::boot(200, TIMELESS);
    m.spawn_kernel(1);
    m.schedule();
    m.exception(14, 0, USER_STACK);
}
