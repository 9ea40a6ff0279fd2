//! The Agents' kernel half: what is tapped and what is not, what the page says, tags, and reads of others'
//! memory.

use abi::Pid;
use abi::agents::{AGENT_MAGIC, AgentPage, Class, Heuristic, TAP_REFUSED, TAP_SLOTS, Tap};
use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_DATA, USER_HEAP, USER_STATE, USER_TEXT};
use abi::process::State;
use abi::service::{SERVICE_BARRED, SERVICE_DONE};
use abi::syscall::{Call, Error, Keys};
use abi::trace::Kind;
use zerocopy::{FromBytes, IntoBytes};

use super::matrix::{BARE, LARGE, Matrix, PLAIN, TIMELESS};
use crate::base::hardware::Hardware;
use crate::proc::lives::Birth;

const PORT: u64 = 2000;

/// A world with an Agent of a class, which sleeps for ever, and a user who runs.
fn watched(class: Class, line: &str) -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(200, line);
    let agent = m.spawn(PLAIN, 0, 2);
    let user = m.spawn(PLAIN, 1000, 3);
    m.schedule();
    enlist(&mut m, agent, class);
    m.act(agent, Call::Sleep, &[u64::MAX]);
    assert_eq!(m.running(), user);
    (m, agent, user)
}

/// `pid`, which runs, gets its key and attaches.
#[track_caller]
fn enlist(m: &mut Matrix, pid: Pid, class: Class) {
    m.process(pid).d.keys |= Keys::AGENT;
    assert_eq!(m.ok(pid, Call::Attach, &[class as u64]), USER_STATE);
}

/// An Agent's state page.
fn page(m: &mut Matrix, agent: Pid) -> &mut AgentPage {
    let frame = m.frame(agent, USER_STATE).expect("it has one");
    assert_eq!(m.kind(frame), (FrameKind::Shared, agent));
    let (page, _) = AgentPage::mut_from_prefix(m.kernel.hw().page(frame).as_mut_bytes()).expect("it fits");
    page
}

/// The taps that are there, oldest first.
fn taps(m: &mut Matrix, agent: Pid) -> std::vec::Vec<Tap> {
    let page = page(m, agent);
    (page.tail..page.head).map(|nth| page.taps[nth as usize % TAP_SLOTS]).collect()
}

fn tap(pid: Pid, call: Call, subject: u64) -> Tap {
    Tap { pid, call: call as u32, subject }
}

fn refused(pid: Pid, call: Call, subject: u64) -> Tap {
    Tap { pid, call: call as u32 | TAP_REFUSED, subject }
}

#[test]
fn an_agent_needs_the_key_a_class_and_a_free_post() {
    let mut m = Matrix::boot(200, TIMELESS);
    let (first, second) = (m.spawn(PLAIN, 0, 3), m.spawn(PLAIN, 0, 3));
    m.schedule();
    m.refused(first, Call::Attach, &[0], Error::Denied);
    m.process(first).d.keys = Keys::WATCHDOG | Keys::PHONE;
    m.refused(first, Call::Attach, &[0], Error::Denied);
    m.process(first).d.keys = Keys::AGENT;
    for class in [3, u64::MAX] {
        m.refused(first, Call::Attach, &[class], Error::Invalid);
    }
    assert!(!m.kernel.is_tapped());
    enlist(&mut m, first, Class::Ports);
    m.refused(first, Call::Attach, &[Class::Memory as u64], Error::Invalid);
    let attached = m.last(Kind::Attached);
    assert_eq!((attached.pid, attached.a), (first, Class::Ports as u32));
    assert_eq!((page(&mut m, first).magic, page(&mut m, first).every), (AGENT_MAGIC, 1));
    m.turn_to(second);
    m.process(second).d.keys = Keys::AGENT;
    m.refused(second, Call::Attach, &[Class::Ports as u64], Error::Invalid);
    enlist(&mut m, second, Class::Messages);
}

#[test]
fn ports_are_tapped_and_only_what_is_not_there_counts_as_refused() {
    let (mut m, agent, user) = watched(Class::Ports, TIMELESS);
    m.ok(user, Call::Bind, &[PORT]);
    m.refused(user, Call::Bind, &[PORT], Error::Invalid);
    m.refused(user, Call::Bind, &[7], Error::Denied);
    m.refused(user, Call::Call, &[PORT + 1], Error::NotFound);
    m.refused(user, Call::Call, &[PORT, 0, 0, 1, 1], Error::Invalid);
    m.refused(user, Call::Call, &[PORT, 0, 0, USER_HEAP, 1], Error::BadAddress);
    // Not of this class.
    m.refused(user, Call::Reply, &[0], Error::Dead);
    m.refused(user, Call::Kill, &[0], Error::Denied);
    m.call(0x999, &[]);
    let expected = [
        tap(user, Call::Bind, PORT),
        tap(user, Call::Bind, PORT),
        refused(user, Call::Bind, 7),
        refused(user, Call::Call, PORT + 1),
        tap(user, Call::Call, PORT),
        tap(user, Call::Call, PORT),
    ];
    assert_eq!(taps(&mut m, agent), expected);
    assert_eq!(m.counters().taps, 6);
}

#[test]
fn every_message_is_tapped_on_its_way_and_every_answer() {
    let mut m = Matrix::boot(200, TIMELESS);
    let (agent, server, client) = (m.spawn(PLAIN, 0, 2), m.spawn(PLAIN, 100, 3), m.spawn(PLAIN, 1000, 3));
    m.schedule();
    enlist(&mut m, agent, Class::Messages);
    m.act(agent, Call::Sleep, &[u64::MAX]);
    m.server(server, PORT);
    m.act(client, Call::Call, &[PORT]);
    m.act(server, Call::Reply, &[u64::from(client.0), 0, 0, PORT]);
    m.refused(client, Call::Reply, &[u64::from(server.0)], Error::Dead);
    let expected = [
        tap(client, Call::Call, u64::from(server.0)),
        tap(server, Call::Reply, u64::from(client.0)),
        refused(client, Call::Reply, u64::from(server.0)),
    ];
    assert_eq!(taps(&mut m, agent), expected);
}

#[test]
fn attempts_on_others_are_tapped_and_to_be_late_is_none() {
    let mut m = Matrix::boot(200, TIMELESS);
    let (agent, root) = (m.spawn(PLAIN, 0, 2), m.spawn(PLAIN, 0, 3));
    let user = m.spawn(PLAIN, 1000, 3);
    m.schedule();
    enlist(&mut m, agent, Class::Memory);
    m.act(agent, Call::Sleep, &[u64::MAX]);
    m.refused(root, Call::Kill, &[9999], Error::Dead);
    m.refused(root, Call::Tag, &[u64::from(user.0), 1, 1], Error::Denied);
    m.turn_to(user);
    m.refused(user, Call::Kill, &[u64::from(root.0)], Error::Denied);
    m.refused(user, Call::Examine, &[u64::from(root.0)], Error::Denied);
    let expected = [
        tap(root, Call::Kill, 9999),
        refused(root, Call::Tag, u64::from(user.0)),
        refused(user, Call::Kill, u64::from(root.0)),
        refused(user, Call::Examine, u64::from(root.0)),
    ];
    assert_eq!(taps(&mut m, agent), expected);
}

#[test]
fn a_full_ring_loses_taps_and_counts_them() {
    let (mut m, agent, user) = watched(Class::Ports, TIMELESS);
    m.watchful = false;
    for port in 0..TAP_SLOTS as u64 + 5 {
        m.refused(user, Call::Call, &[3000 + port], Error::NotFound);
    }
    let page = page(&mut m, agent);
    assert_eq!((page.head, page.tail, page.lost), (TAP_SLOTS as u64, 0, 5));
    assert_eq!(page.taps[0].subject, 3000);
    page.tail = 3;
    m.refused(user, Call::Call, &[9000], Error::NotFound);
    assert_eq!(taps(&mut m, agent).last(), Some(&refused(user, Call::Call, 9000)));
    assert_eq!(m.counters().taps, TAP_SLOTS as u64 + 1);
}

#[test]
fn with_the_fix_one_event_of_eight_is_tapped() {
    let (mut m, agent, user) = watched(Class::Ports, "tick-entries=1000000 fix.ids=1");
    assert_eq!(page(&mut m, agent).every, 8);
    for port in 1..=24 {
        m.refused(user, Call::Call, &[3000 + port], Error::NotFound);
    }
    let ports = taps(&mut m, agent).iter().map(|tap| tap.subject - 3000).collect::<std::vec::Vec<_>>();
    assert_eq!(ports, [8, 16, 24]);
}

#[test]
fn whatever_is_in_the_page_is_believed_and_survived() {
    let (mut m, agent, user) = watched(Class::Ports, TIMELESS);
    for (head, tail, every, skipped) in
        [(u64::MAX, u64::MAX, 0, u64::MAX), (5, 9, 1, 1), (0, u64::MAX, u64::MAX, 3), (1 << 40, 0, 1, 0)]
    {
        let page = page(&mut m, agent);
        (page.head, page.tail, page.every, page.skipped, page.magic) = (head, tail, every, skipped, 0);
        for port in 0..200 {
            m.refused(user, Call::Call, &[3000 + port], Error::NotFound);
        }
    }
}

#[test]
fn nobody_looks_once_the_agent_is_gone_and_its_page_goes_with_it() {
    let mut m = Matrix::boot(200, TIMELESS);
    let (agent, user) = (m.spawn(PLAIN, 0, 3), m.spawn(PLAIN, 1000, 3));
    m.schedule();
    let unowned = m.unowned();
    enlist(&mut m, agent, Class::Ports);
    assert!(m.kernel.is_tapped() && m.unowned() < unowned);
    m.act(agent, Call::Exit, &[]);
    assert!(!m.kernel.is_tapped());
    m.refused(user, Call::Call, &[PORT], Error::NotFound);
    assert_eq!(m.counters().taps, 0);
}

#[test]
fn a_state_page_is_not_lent() {
    let mut m = Matrix::boot(200, TIMELESS);
    let (agent, server) = (m.spawn(PLAIN, 0, 3), m.spawn(PLAIN, 0, 2));
    m.schedule();
    m.server(server, PORT);
    enlist(&mut m, agent, Class::Ports);
    m.refused(agent, Call::Call, &[PORT, 0, 0, USER_STATE, PAGE_SIZE], Error::BadAddress);
}

#[test]
fn a_tag_ends_a_violator_and_says_nothing_against_the_system() {
    let mut m = Matrix::boot(200, TIMELESS);
    let (agent, user) = (m.spawn(PLAIN, 0, 2), m.spawn(PLAIN, 1000, 3));
    let kernel = m.spawn_kernel(5);
    m.schedule();
    let victim = u64::from(user.0);
    m.refused(agent, Call::Tag, &[victim, 1, 8], Error::Denied);
    m.process(agent).d.keys = Keys::AGENT;
    for heuristic in [0, 4, u64::MAX] {
        m.refused(agent, Call::Tag, &[victim, heuristic, 8], Error::Invalid);
    }
    m.refused(agent, Call::Tag, &[u64::from(kernel.0), 1, 8], Error::Denied);
    m.refused(agent, Call::Tag, &[u64::from(agent.0), 1, 8], Error::Invalid);
    for nobody in [0, 200, victim + (1 << 16), victim + (1 << 32), u64::MAX] {
        m.refused(agent, Call::Tag, &[nobody, 1, 8], Error::Dead);
    }
    m.ok(agent, Call::Tag, &[victim, Heuristic::Forgery as u64, 8]);
    m.refused(agent, Call::Tag, &[victim, 1, 8], Error::Dead);
    let tagged = m.last(Kind::Tagged);
    assert_eq!((tagged.pid, tagged.a, tagged.b, tagged.c), (user, 2, u64::from(agent.0), 8));
    // It lives until it comes to the remedy, and whatever it ends with, it was tagged.
    assert_eq!((m.state(user), m.process(user).d.context.rip), (Some(State::Ready), USER_TEXT));
    m.act(agent, Call::Sleep, &[u64::MAX]);
    m.act(user, Call::Exit, &[1]);
    assert_eq!((m.state(user), m.counters().tagged, m.counters().crashes), (None, 1, 0));
}

#[test]
fn who_is_tagged_gets_the_agents_image_from_the_remedy_on_and_nothing_else() {
    // LARGE has two pages of text and one of data; PLAIN has one of text.
    for (remedy, pages) in [(2, 1), (0, 3)] {
        let mut m = Matrix::boot(200, TIMELESS);
        let (agent, user) = (m.spawn(LARGE, 0, 2), m.spawn(PLAIN, 1000, 3));
        m.schedule();
        m.process(agent).d.keys = Keys::AGENT;
        m.ok(agent, Call::Attach, &[Class::Ports as u64, remedy]);
        m.ok(agent, Call::Tag, &[u64::from(user.0), Heuristic::PortScan as u64, 8]);
        let image = |m: &mut Matrix, pid, page: u64| m.frame(pid, USER_TEXT + page * PAGE_SIZE);
        for page in 0..4 {
            let original = if page < pages { image(&mut m, agent, remedy + page) } else { None };
            assert_eq!(image(&mut m, user, page), original, "page {page} of remedy {remedy}");
        }
    }
}

#[test]
fn who_is_doomed_and_ends_by_itself_is_ended_once() {
    let mut m = Matrix::boot(200, TIMELESS);
    let root = m.spawn(PLAIN, 0, 2);
    m.schedule();
    let child = Pid(m.ok(root, Call::Spawn, &[PLAIN as u64, 1000, 3]) as u32);
    m.act(root, Call::Sleep, &[2]);
    m.process(child).d.ring = 0;
    m.process(child).d.doomed = 1;
    m.kernel.timer_mut().doom();
    m.act(child, Call::Exit, &[0]);
    // The idle kernel has come to the tick at which its parent wakes, and to the doomed on the way.
    assert_eq!((m.running(), m.state(child)), (root, Some(State::Zombie)));
    assert_eq!(m.traced(Kind::Kill).len(), 0);
}

#[test]
fn the_kill_of_a_process_in_ring_0_is_completed_by_whoever_attends_to_the_timer() {
    let mut m = Matrix::boot(200, TIMELESS);
    let (root, user) = (m.spawn(PLAIN, 0, 2), m.spawn(PLAIN, 1000, 3));
    m.schedule();
    m.process(user).d.ring = 0;
    m.ok(root, Call::Kill, &[u64::from(user.0)]);
    assert_eq!((m.last(Kind::Doomed).pid, m.process(user).d.doomed), (user, 1));
    m.act(root, Call::Sleep, &[1]);
    // The switch has passed it over, and the idle kernel's tick has ended it.
    assert_eq!((m.running(), m.state(user)), (root, None));
    assert_eq!(m.last(Kind::Kill).pid, user);
}

#[test]
fn only_root_reads_the_memory_of_others_and_only_what_is_there() {
    let mut m = Matrix::boot(200, TIMELESS);
    let (root, user) = (m.spawn(PLAIN, 0, 3), m.spawn(PLAIN, 1000, 3));
    let kernel = m.spawn_kernel(5);
    m.schedule();
    m.turn_to(user);
    m.write(USER_DATA + 64, 0x1234_5678_9abc).expect("it is its own");
    let (subject, to) = (u64::from(user.0), USER_DATA + 8);
    m.refused(user, Call::Examine, &[u64::from(root.0), USER_DATA, to, 8], Error::Denied);
    m.turn_to(root);
    m.ok(root, Call::Examine, &[subject, USER_DATA + 64, to, 8]);
    assert_eq!(m.peek(root, to), Some(0x1234_5678_9abc));
    m.ok(root, Call::Examine, &[subject, USER_TEXT, to, 256]);
    let examined = m.last(Kind::Examined);
    assert_eq!((examined.pid, examined.a, examined.b, examined.c), (user, 256, u64::from(root.0), USER_TEXT));
    assert_eq!(m.counters().examined, 2);
    m.refused(root, Call::Examine, &[subject, USER_DATA, to, 257], Error::Invalid);
    for at in [0, USER_HEAP, 0xffff_8000_0000_0000, u64::MAX - 7] {
        m.refused(root, Call::Examine, &[subject, at, to, 8], Error::BadAddress);
        m.refused(root, Call::Examine, &[subject, USER_DATA, at, 8], Error::BadAddress);
    }
    // Its own text is not to be written to, not even by way of the kernel.
    m.refused(root, Call::Examine, &[subject, USER_DATA, USER_TEXT, 8], Error::BadAddress);
    m.refused(root, Call::Examine, &[u64::from(kernel.0), USER_DATA, to, 8], Error::Denied);
    for nobody in [0, subject + (1 << 16), subject + (1 << 32), u64::MAX] {
        m.refused(root, Call::Examine, &[nobody, USER_DATA, to, 8], Error::Dead);
    }
    let child = m.ok(root, Call::Spawn, &[BARE as u64, 1000, 3]);
    m.ok(root, Call::Kill, &[child]);
    assert_eq!(m.state(Pid(child as u32)), Some(State::Zombie));
    m.refused(root, Call::Examine, &[child, USER_TEXT, to, 8], Error::Dead);
    assert_eq!(m.counters().examined, 2);
}

#[test]
fn a_service_that_is_started_again_finds_its_page_as_it_was() {
    let mut m = Matrix::boot(200, TIMELESS);
    let birth = Birth { program: PLAIN, parent: Pid::NONE, uid: 0, priority: 2, argument: 0 };
    let agent = m.kernel.start_service(birth).expect("there is memory");
    let root = m.spawn(PLAIN, 0, 3);
    m.schedule();
    enlist(&mut m, agent, Class::Ports);
    let before = m.frame(agent, USER_STATE);
    page(&mut m, agent).targets[3].score = 7;
    m.act(agent, Call::Sleep, &[u64::MAX]);
    m.refused(root, Call::Call, &[PORT], Error::NotFound);
    m.ok(root, Call::Kill, &[u64::from(agent.0)]);
    m.refused(root, Call::Call, &[PORT], Error::NotFound);
    m.command(abi::info::COMMAND_RESTART, 0);
    m.tick();
    m.schedule();
    let again = m.kernel.services()[0].pid;
    assert!(again != agent && m.running() == again);
    enlist(&mut m, again, Class::Ports);
    assert_eq!(m.frame(again, USER_STATE), before);
    let page = page(&mut m, again);
    assert_eq!((page.targets[3].score, page.head), (7, 1));
    m.act(again, Call::Sleep, &[u64::MAX]);
    m.refused(root, Call::Call, &[PORT], Error::NotFound);
    assert_eq!(taps(&mut m, again).len(), 2);
}

#[test]
fn a_service_that_will_not_run_again_gives_its_page_back() {
    // One that has ended well, and one of the people that was tagged.
    for (uid, tagged) in [(0, false), (1000, true)] {
        let mut m = Matrix::boot(200, TIMELESS);
        let root = m.spawn(PLAIN, 0, 3);
        let unowned = m.unowned();
        let birth = Birth { program: PLAIN, parent: Pid::NONE, uid, priority: 2, argument: 0 };
        let agent = m.kernel.start_service(birth).expect("there is memory");
        m.schedule();
        enlist(&mut m, agent, Class::Ports);
        let warm = m.frame(agent, USER_STATE).expect("it has a page");
        if tagged {
            m.act(agent, Call::Sleep, &[u64::MAX]);
            m.process(root).d.keys = Keys::AGENT;
            m.act(root, Call::Tag, &[u64::from(agent.0), Heuristic::PortScan as u64, 8]);
            // What it waited for is over, and it is the more urgent.
            m.act(agent, Call::Exit, &[1]);
        } else {
            m.act(agent, Call::Exit, &[0]);
        }
        let state = if tagged { SERVICE_BARRED } else { SERVICE_DONE };
        assert_eq!((m.kernel.services()[0].state, m.kernel.services()[0].warm), (state, 0));
        assert_eq!((m.kind(warm), m.unowned()), ((FrameKind::Free, Pid::NONE), unowned));
        let freed = m.traced(Kind::Freed);
        let freed = freed.iter().filter(|record| record.b == warm.0).map(|record| record.pid);
        assert_eq!(freed.collect::<std::vec::Vec<_>>(), [agent], "once, and by its owner");
        assert_eq!(m.running(), root);
    }
}
