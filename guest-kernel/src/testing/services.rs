//! The service table through the lives of its processes, and the host's commands, sane or not.

use abi::Pid;
use abi::info::{COMMAND_KILL, COMMAND_RESTART, COMMAND_SLOTS, Command};
use abi::service::{SERVICE_DONE, SERVICE_DOWN, SERVICE_NONE, SERVICE_RUNS, SERVICE_SLOTS};
use abi::syscall::{Call, Error};
use abi::trace::Kind;
use proptest::prelude::*;

use super::matrix::{BARE, Matrix, PLAIN, PROGRAMS, TIMELESS};
use crate::base::index::Slot;
use crate::proc::lives::Birth;

impl Matrix {
    /// The host gives a command.
    pub(super) fn command(&mut self, what: u32, subject: u32) {
        let hw = &mut self.kernel.hw();
        hw.commands[hw.commands_given as usize % COMMAND_SLOTS] = Command { what, subject };
        hw.commands_given += 1;
    }

    /// Time passes without an entry.
    pub(super) fn tick(&mut self) {
        self.kernel.tick(1);
        self.kernel.schedule();
        self.schedule();
    }
}

fn birth(program: usize) -> Birth {
    Birth { program, parent: Pid::NONE, uid: 0, priority: 3, argument: 77 }
}

/// Two services and somebody who is none, of lower priority.
fn two() -> (Matrix, [Pid; 2], Pid) {
    let mut m = Matrix::boot(300, TIMELESS);
    let services = [PLAIN, BARE].map(|program| m.kernel.start_service(birth(program)).expect("memory"));
    let user = m.spawn(PLAIN, 1000, 4);
    m.schedule();
    (m, services, user)
}

fn state(m: &Matrix, place: usize) -> u8 {
    m.kernel.services()[place].state
}

#[test]
fn the_table_knows_who_runs_who_is_done_and_who_is_down() {
    let (mut m, [first, second], _) = two();
    let service = m.kernel.services()[0];
    assert_eq!((service.pid, service.program, service.argument), (first, PLAIN as u32, 77));
    assert_eq!((m.process(first).d.service, m.process(second).d.service), (1, 2));
    assert_eq!([0, 1, 2].map(|place| state(&m, place)), [SERVICE_RUNS, SERVICE_RUNS, SERVICE_NONE]);
    m.act(first, Call::Exit, &[0]);
    assert_eq!(state(&m, 0), SERVICE_DONE);
    m.exception(6, 0, 0);
    assert_eq!((state(&m, 1), m.kernel.services()[1].pid), (SERVICE_DOWN, second));
}

#[test]
fn a_service_that_is_down_is_started_again_as_it_was() {
    let (mut m, [first, _], _) = two();
    m.act(first, Call::Exit, &[3]);
    assert_eq!(state(&m, 0), SERVICE_DOWN);
    m.command(COMMAND_RESTART, 0);
    m.tick();
    let service = m.kernel.services()[0];
    assert_eq!((service.state, service.restarts, m.kernel.info().commands_taken), (SERVICE_RUNS, 1, 1));
    let process = m.process(service.pid);
    assert_eq!((process.d.uid, process.d.priority, process.d.context.rdi, process.d.service), (0, 3, 77, 1));
    let restarted = m.last(Kind::Restarted);
    assert_eq!(
        (restarted.pid, restarted.a, restarted.b, restarted.c),
        (service.pid, 0, u64::from(first.0), 1)
    );
    assert_eq!(m.counters().restarts, 1);
}

#[test]
fn only_what_is_down_is_started_again() {
    let (mut m, [first, _], _) = two();
    m.act(first, Call::Exit, &[0]);
    let (alive, before) = (m.kernel.info().alive, m.kernel.services()[1]);
    for place in [0, 1, 2, SERVICE_SLOTS as u32 - 1, SERVICE_SLOTS as u32, u32::MAX] {
        m.command(COMMAND_RESTART, place);
    }
    m.tick();
    assert_eq!((m.kernel.info().alive, m.kernel.info().commands_taken), (alive, 6));
    assert_eq!((state(&m, 0), m.kernel.services()[1], m.counters().restarts), (SERVICE_DONE, before, 0));
}

#[test]
fn without_memory_a_service_stays_down_until_there_is_some() {
    let mut m = Matrix::boot(40, TIMELESS);
    let service = m.kernel.start_service(birth(BARE)).expect("memory");
    // Root, whom nobody takes memory away from.
    let hog = m.spawn(PLAIN, 0, 4);
    m.spawn_kernel(5);
    m.schedule();
    m.act(service, Call::Exit, &[1]);
    while m.unowned() > 4 {
        let page = m.ok(hog, Call::Grow, &[4096]);
        m.write(page, 1).expect("there is memory");
    }
    m.command(COMMAND_RESTART, 0);
    m.tick();
    assert_eq!((state(&m, 0), m.counters().restarts, m.kernel.info().commands_taken), (SERVICE_DOWN, 0, 1));
    m.act(hog, Call::Exit, &[0]);
    m.command(COMMAND_RESTART, 0);
    m.tick();
    assert_eq!((state(&m, 0), m.counters().restarts), (SERVICE_RUNS, 1));
}

#[test]
fn one_that_cannot_even_be_started_is_down_and_the_table_has_an_end() {
    let mut m = Matrix::boot(800, TIMELESS);
    m.watchful = false;
    assert_eq!(m.kernel.start_service(birth(PROGRAMS)), Err(Error::NotFound));
    assert_eq!(state(&m, 0), SERVICE_DOWN);
    for _ in 1..SERVICE_SLOTS {
        m.kernel.start_service(birth(BARE)).expect("memory");
    }
    let beyond = m.kernel.start_service(birth(BARE)).expect("memory");
    assert_eq!(m.process(beyond).d.service, 0);
}

#[test]
fn the_host_ends_any_process_but_the_kernels_and_that_is_no_crash() {
    let (mut m, [first, second], user) = two();
    let kernel = m.spawn_kernel(5);
    assert_eq!(m.running(), first);
    for pid in [kernel.0, first.0, user.0, 0, 0xffff, user.0 + (1 << 16), u32::MAX] {
        m.command(COMMAND_KILL, pid);
    }
    m.tick();
    assert_eq!(m.running(), second);
    assert_eq!((m.state(first), m.state(user), m.alive(kernel)), (None, None, true));
    assert_eq!((state(&m, 0), m.counters().crashes, m.traced(Kind::Kill).len()), (SERVICE_DOWN, 0, 2));
}

#[test]
fn who_is_ended_at_the_tick_of_its_own_entry_makes_no_call_any_more() {
    let mut m = Matrix::boot(200, "tick-entries=1");
    let (caller, other) = (m.spawn(PLAIN, 1000, 3), m.spawn(PLAIN, 1000, 4));
    m.schedule();
    m.command(COMMAND_KILL, caller.0);
    let calls = m.counters().syscalls;
    m.act(caller, Call::Exit, &[0]);
    assert_eq!((m.running(), m.counters().syscalls, m.counters().exits), (other, calls, 0));
}

#[test]
fn a_host_that_gives_too_many_or_counts_back_is_survived() {
    let (mut m, _, user) = two();
    for _ in 0..COMMAND_SLOTS + 3 {
        m.command(9, 9);
    }
    m.command(COMMAND_KILL, user.0);
    m.tick();
    assert_eq!((m.alive(user), m.kernel.info().commands_taken), (false, 20));
    m.kernel.hw().commands_given = 2;
    m.tick();
    assert_eq!(m.kernel.info().commands_taken, 2);
    m.kernel.hw().commands_given = u64::MAX;
    m.tick();
    assert_eq!(m.kernel.info().commands_taken, u64::MAX);
}

proptest! {
    #[test]
    fn any_commands_are_survived(commands in prop::collection::vec((0u32..4, 0u32..80, any::<bool>()), 1..40)) {
        let (mut m, _, _) = two();
        // Somebody whom nobody can end.
        m.spawn_kernel(7);
        for (what, subject, wild) in commands {
            m.command(what, if wild { subject << 16 | 1 } else { subject });
            m.tick();
        }
        for service in m.kernel.services().iter().filter(|service| service.state == SERVICE_RUNS) {
            let slot = Slot::of(service.pid);
            prop_assert_ne!(m.kernel.process_table()[slot.index()], 0);
        }
    }
}
