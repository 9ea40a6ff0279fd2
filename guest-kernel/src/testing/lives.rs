//! Birth, death, and waiting for children; what is left of the dead.

use abi::Pid;
use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_CS, USER_DATA, USER_STACK_TOP, USER_TEXT};
use abi::process::{PROCESS_SLOTS, State};
use abi::syscall::{Call, Error};
use abi::trace::Kind;

use super::matrix::{BARE, FRAMES, LARGE, Matrix, PLAIN, TIMELESS};

/// A parent that is root and runs.
fn parent() -> (Matrix, Pid) {
    let mut m = Matrix::boot(300, TIMELESS);
    let parent = m.spawn(PLAIN, 0, 3);
    m.schedule();
    (m, parent)
}

/// `parent`, which runs, starts a child.
#[track_caller]
fn child(m: &mut Matrix, parent: Pid) -> Pid {
    Pid(m.ok(parent, Call::Spawn, &[BARE as u64, 1000, 3]) as u32)
}

#[test]
fn the_newborn_has_its_image_its_argument_and_a_seed_of_its_own() {
    let (mut m, parent) = parent();
    let born = m.ok(parent, Call::Spawn, &[LARGE as u64, 1000, 3, 77]);
    let born = Pid(born as u32);
    let twin = Pid(m.ok(parent, Call::Spawn, &[LARGE as u64, 1000, 3, 77]) as u32);
    let context = m.process(born).d.context;
    assert_eq!((context.rip, context.rsp), (USER_TEXT, USER_STACK_TOP - 8));
    assert_eq!((context.cs, context.rdi, context.rdx), (u64::from(USER_CS), 77, u64::from(born.0)));
    assert_ne!(context.rsi, m.process(twin).d.context.rsi);
    // The text is the module's, in both; the data is zero, and each gets its own.
    assert_eq!(m.peek(born, USER_TEXT + PAGE_SIZE), Some(2));
    assert_eq!(m.frame(born, USER_TEXT), m.frame(twin, USER_TEXT));
    for pid in [born, twin] {
        assert_eq!(m.frame(pid, USER_DATA), None);
        m.turn_to(pid);
        assert_eq!((m.read(USER_DATA), m.read(USER_DATA + 2 * PAGE_SIZE)), (Some(0), Some(0)));
    }
    assert_ne!(m.frame(born, USER_DATA), m.frame(twin, USER_DATA));
    let spawn = m.last(Kind::Spawn);
    assert_eq!((spawn.pid, spawn.a, spawn.b), (twin, 1000, u64::from(parent.0)));
}

#[test]
fn all_frames_of_the_dead_are_free_again() {
    for (program, frames) in FRAMES.into_iter().enumerate() {
        let (mut m, parent) = parent();
        let before = m.kernel.info().free_frames;
        let child = m.ok(parent, Call::Spawn, &[program as u64, 1000, 3]);
        assert_eq!(m.kernel.info().free_frames, before - frames - 1, "program {program}");
        m.ok(parent, Call::Kill, &[child]);
        assert_eq!(m.kernel.info().free_frames, before - 1, "only the descriptor waits");
        assert_eq!(m.ok(parent, Call::Wait, &[]), child);
        assert_eq!(m.kernel.info().free_frames, before);
    }
}

#[test]
fn a_parent_learns_who_died_and_of_what_whether_it_asks_before_or_after() {
    let (mut m, parent) = parent();
    let (early, late) = (child(&mut m, parent), child(&mut m, parent));
    m.turn_to(early);
    m.act(early, Call::Exit, &[7]);
    assert_eq!((m.state(early), m.kernel.info().alive), (Some(State::Zombie), 2));
    m.turn_to(parent);
    assert_eq!(m.ok(parent, Call::Wait, &[]), u64::from(early.0));
    assert_eq!((m.results(parent)[1], m.state(early)), (7, None));
    m.act(parent, Call::Wait, &[]);
    assert_eq!(m.state(parent), Some(State::Waiting));
    m.act(late, Call::Exit, &[0]);
    assert_eq!((m.running(), m.status(parent)), (parent, 0));
    assert_eq!(m.results(parent)[..2], [u64::from(late.0), 0]);
    assert_eq!((m.counters().exits, m.counters().crashes), (1, 1));
    m.refused(parent, Call::Wait, &[], Error::NotFound);
}

#[test]
fn the_dead_are_reported_in_the_order_of_their_deaths() {
    let (mut m, parent) = parent();
    let all: [Pid; 4] = core::array::from_fn(|_| child(&mut m, parent));
    let order = [2, 0, 3, 1].map(|nth: usize| u64::from(all[nth].0));
    for pid in order {
        m.ok(parent, Call::Kill, &[pid]);
    }
    assert_eq!(order.map(|_| m.ok(parent, Call::Wait, &[])), order);
}

#[test]
fn a_wait_with_a_time_out_ends_in_time_and_its_timer_with_it() {
    let (mut m, parent) = parent();
    m.act(parent, Call::Wait, &[20]);
    assert_eq!((m.error(parent), m.kernel.info().tick), (Some(Error::TimedOut), 20));
    let child = child(&mut m, parent);
    m.act(parent, Call::Wait, &[20]);
    m.act(child, Call::Exit, &[5]);
    assert_eq!((m.running(), m.results(parent)[1], m.kernel.info().tick), (parent, 5, 20));
    assert!(m.kernel.running_timers().is_empty());
}

#[test]
fn orphans_live_on_and_nobody_waits_for_dead_ones() {
    let (mut m, root) = parent();
    let middle = Pid(m.ok(root, Call::Spawn, &[PLAIN as u64, 0, 3]) as u32);
    m.turn_to(middle);
    let (dead, orphan) = (child(&mut m, middle), child(&mut m, middle));
    m.ok(middle, Call::Kill, &[u64::from(dead.0)]);
    m.act(middle, Call::Exit, &[]);
    assert_eq!((m.state(middle), m.state(dead)), (Some(State::Zombie), None));
    assert_eq!(m.process(orphan).d.parent, Pid::NONE);
    m.turn_to(orphan);
    m.act(orphan, Call::Exit, &[]);
    assert_eq!(m.state(orphan), None);
}

#[test]
fn a_slot_is_used_again_and_its_old_pid_names_nobody() {
    let (mut m, parent) = parent();
    let mut before = child(&mut m, parent);
    for generation in 1..5 {
        m.ok(parent, Call::Kill, &[u64::from(before.0)]);
        m.ok(parent, Call::Wait, &[]);
        let next = child(&mut m, parent);
        assert_eq!((next.slot(), next.generation()), (before.slot(), generation));
        m.refused(parent, Call::Kill, &[u64::from(before.0)], Error::Dead);
        m.refused(parent, Call::Reply, &[u64::from(before.0)], Error::Dead);
        before = next;
    }
    assert!(m.alive(before));
}

#[test]
fn a_birth_without_memory_leaves_nothing_behind() {
    for spare in 0..=FRAMES[LARGE] {
        let (mut m, parent) = parent();
        // What is left after the heap: one frame too few, or more.
        let pages = m.kernel.info().free_frames - 1 - spare;
        m.fill(parent, pages);
        assert_eq!(m.kernel.info().free_frames, spare);
        for _ in 0..2 {
            m.refused(parent, Call::Spawn, &[LARGE as u64, 1000, 3], Error::Exhausted);
            let left = (m.kernel.info().free_frames, m.kernel.info().alive, m.kernel.slot_limit());
            assert_eq!(left, (spare, 1, parent.slot() + 2));
        }
        m.refused(parent, Call::Wait, &[], Error::NotFound);
    }
}

#[test]
fn every_slot_can_be_used_and_one_more_is_refused() {
    let mut m = Matrix::boot(2000, TIMELESS);
    let parent = m.spawn(PLAIN, 0, 3);
    m.schedule();
    m.watchful = false;
    for _ in 2..PROCESS_SLOTS {
        child(&mut m, parent);
    }
    m.watchful = true;
    let free = m.kernel.info().free_frames;
    m.refused(parent, Call::Spawn, &[BARE as u64, 1000, 3], Error::Exhausted);
    assert_eq!(m.kernel.info().free_frames, free);
    m.ok(parent, Call::Kill, &[100]);
    m.ok(parent, Call::Wait, &[]);
    assert_eq!(child(&mut m, parent), Pid::new(100, 1));
}

#[test]
fn death_finds_everybody_wherever_they_wait() {
    let (mut m, root) = parent();
    let free = m.kernel.info().free_frames;
    let all: [Pid; 5] = core::array::from_fn(|_| child(&mut m, root));
    let [server, awaiting, sending, sleeping, waiting] = all;
    m.server(server, 2000);
    m.turn_to(awaiting);
    m.act(awaiting, Call::Call, &[2000, 0, 0, 0, 0, 500]);
    m.turn_to(sending);
    m.act(sending, Call::Call, &[2000, 0, 0, 0, 0, 500]);
    m.turn_to(sleeping);
    m.act(sleeping, Call::Sleep, &[500]);
    m.turn_to(waiting);
    m.act(waiting, Call::Wait, &[500]);
    let states = all.map(|pid| m.state(pid).expect("it is alive"));
    use State::{AwaitingReply, Ready, Sending, Sleeping, Waiting};
    assert!(matches!(states, [Ready | State::Running, AwaitingReply, Sending, Sleeping, Waiting]));
    m.turn_to(root);
    for pid in [sending, awaiting, sleeping, waiting, server] {
        m.ok(root, Call::Kill, &[u64::from(pid.0)]);
        assert_eq!(m.ok(root, Call::Wait, &[]), u64::from(pid.0));
    }
    assert!(m.kernel.running_timers().is_empty());
    assert_eq!((m.kernel.info().free_frames, m.kernel.info().alive), (free, 1));
}

#[test]
fn who_kills_itself_is_dead() {
    let (mut m, root) = parent();
    let other = m.spawn(BARE, 1000, 3);
    m.act(root, Call::Kill, &[u64::from(root.0)]);
    assert_eq!((m.running(), m.state(root)), (other, None));
    let descriptors = (0..m.kernel.info().frames)
        .filter(|frame| m.kind(abi::Frame(u64::from(*frame))).0 == FrameKind::Descriptor);
    assert_eq!(descriptors.count(), 1);
}

#[test]
fn nobody_can_claim_an_end_that_only_the_kernel_gives() {
    let mut m = Matrix::boot(200, TIMELESS);
    let parent = m.spawn(PLAIN, 0, 3);
    m.schedule();
    let child = Pid(m.ok(parent, Call::Spawn, &[PLAIN as u64, 1000, 3]) as u32);
    m.turn_to(child);
    m.act(child, Call::Exit, &[crate::proc::TAGGED]);
    m.turn_to(parent);
    m.ok(parent, Call::Wait, &[]);
    assert_eq!(m.results(parent)[..2], [u64::from(child.0), crate::proc::TAGGED & 0xff]);
}
