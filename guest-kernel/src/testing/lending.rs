//! Loans: what a borrower sees, when its windows go, and who is left with what when one of the two is gone.

use abi::Pid;
use abi::frame::FrameKind;
use abi::layout::{LOAN_PAGES, PAGE_SIZE, USER_DATA, USER_HEAP, USER_TEXT, USER_WINDOWS, WINDOW_SLOTS};
use abi::process::State;
use abi::syscall::{Call, Error};
use abi::trace::Kind;

use super::matrix::{FRAMES, Matrix, PLAIN, TIMELESS};

const PORT: u64 = 2000;
/// The first window of a borrower.
const WINDOW: u64 = USER_WINDOWS;

/// A server that waits on [`PORT`], and a client that runs, with 1 in its page of data.
fn pair(line: &str) -> (Matrix, Pid, Pid) {
    let mut m = Matrix::boot(600, line);
    let server = m.spawn(PLAIN, 100, 3);
    m.schedule();
    m.ok(server, Call::Bind, &[PORT]);
    let client = m.spawn(PLAIN, 1000, 3);
    m.act(server, Call::Receive, &[PORT]);
    m.write(USER_DATA, 1).expect("it has data");
    (m, server, client)
}

/// `client`, which runs, lends `bytes` from `at`.
#[track_caller]
fn lend(m: &mut Matrix, client: Pid, at: u64, bytes: u64) {
    m.act(client, Call::Call, &[PORT, 0, 0, at, bytes]);
}

/// `server`, which runs, replies and waits for more.
#[track_caller]
fn reply(m: &mut Matrix, server: Pid, client: Pid) {
    m.act(server, Call::Reply, &[u64::from(client.0), 0, 0, PORT]);
}

#[test]
fn a_request_is_read_and_answered_in_place() {
    let (mut m, server, client) = pair(TIMELESS);
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    let [_, _, _, window, bytes, _] = m.results(server);
    assert_eq!((m.running(), window, bytes), (server, WINDOW, PAGE_SIZE));
    assert_eq!(m.read(window), Some(1));
    m.write(window, 2).expect("a window is writable");
    reply(&mut m, server, client);
    assert_eq!(m.read(USER_DATA), Some(2));
    let (lent, ended) = (m.last(Kind::Lend), m.last(Kind::LoanEnd));
    assert_eq!(
        (lent.pid, lent.b, lent.c),
        (client, m.frame(client, USER_DATA).unwrap().0, u64::from(server.0))
    );
    assert_eq!((ended.pid, ended.a, ended.b), (client, lent.a, u64::from(server.0)));
}

#[test]
fn a_loan_has_its_pages_in_order_and_no_more() {
    let (mut m, server, client) = pair(TIMELESS);
    m.ok(client, Call::Grow, &[LOAN_PAGES as u64 * PAGE_SIZE]);
    for page in 0..LOAN_PAGES as u64 {
        m.write(USER_HEAP + page * PAGE_SIZE, 10 + page).expect("it is its own");
    }
    for pages in 1..=LOAN_PAGES as u64 {
        // The last page counts from its first byte on.
        lend(&mut m, client, USER_HEAP, (pages - 1) * PAGE_SIZE + 1);
        let window = m.results(server)[3];
        let seen = [0, 1, 2, 3].map(|page| m.peek(server, window + page * PAGE_SIZE));
        assert_eq!(seen, [0, 1, 2, 3].map(|page| (page < pages).then_some(10 + page)));
        reply(&mut m, server, client);
    }
}

#[test]
fn only_private_whole_pages_can_be_lent() {
    let (mut m, server, client) = pair(TIMELESS);
    let cases = [
        (USER_DATA + 8, 8, Error::Invalid),
        (USER_DATA, LOAN_PAGES as u64 * PAGE_SIZE + 1, Error::Invalid),
        (USER_DATA, u64::MAX, Error::Invalid),
        (USER_DATA, PAGE_SIZE + 1, Error::BadAddress),
        (USER_TEXT, 8, Error::BadAddress),
        (USER_HEAP, 8, Error::BadAddress),
        (u64::MAX - PAGE_SIZE + 1, PAGE_SIZE + 1, Error::BadAddress),
    ];
    for (at, bytes, error) in cases {
        m.refused(client, Call::Call, &[PORT, 0, 0, at, bytes], error);
    }
    assert_eq!((m.state(server), m.counters().loans), (Some(State::Receiving), 0));
    // What is borrowed is not its borrower's to lend on.
    let other = m.spawn(PLAIN, 1000, 3);
    m.turn_to(other);
    m.ok(other, Call::Bind, &[PORT + 1]);
    m.turn_to(client);
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    m.refused(server, Call::Call, &[PORT + 1, 0, 0, WINDOW, PAGE_SIZE], Error::BadAddress);
}

#[test]
fn hand_offs_leave_windows_standing_and_the_switch_takes_them_down() {
    let (mut m, server, client) = pair(TIMELESS);
    for loans in 1..=3 {
        lend(&mut m, client, USER_DATA, PAGE_SIZE);
        reply(&mut m, server, client);
        assert_eq!((m.kernel.info().pending_spaces, m.traced(Kind::Teardown).len()), (1, 0));
        let standing =
            (0..4).filter(|place| m.frame(server, WINDOW + place * LOAN_PAGES as u64 * PAGE_SIZE).is_some());
        assert_eq!(standing.count(), loans);
    }
    m.act(client, Call::Call, &[PORT]);
    assert_eq!(m.traced(Kind::Teardown).len(), 0);
    m.act(server, Call::Yield, &[]);
    assert_eq!((m.running(), m.traced(Kind::Teardown).len()), (server, 3));
    assert_eq!((m.kernel.info().pending_spaces, m.frame(server, WINDOW)), (0, None));
    assert_eq!(m.last(Kind::Epoch).pid, Pid::NONE);
}

#[test]
fn a_late_write_through_a_standing_window_reaches_the_lender() {
    let (mut m, server, client) = pair(TIMELESS);
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    reply(&mut m, server, client);
    m.act(client, Call::Call, &[PORT]);
    m.write(WINDOW, 66).expect("it still stands");
    assert_eq!((m.peek(client, USER_DATA), m.traced(Kind::LateWrite).len()), (Some(66), 0));
}

#[test]
fn a_late_write_after_the_window_is_gone_reaches_a_spare_page() {
    let (mut m, server, client) = pair(TIMELESS);
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    m.act(server, Call::Reply, &[u64::from(client.0)]);
    m.turn_to(server);
    let free = m.kernel.info().free_frames;
    for (nth, window) in [WINDOW, WINDOW + 5 * PAGE_SIZE, WINDOW].into_iter().enumerate() {
        m.write(window, 66).expect("nobody is harmed");
        assert_eq!(m.traced(Kind::LateWrite).len(), (nth + 1).min(2));
    }
    assert_eq!(m.last(Kind::LateWrite).b, WINDOW + 5 * PAGE_SIZE);
    // It has one spare page for all that comes late, and keeps it.
    assert_eq!(m.kernel.info().free_frames, free - 1);
    let spare = m.frame(server, WINDOW).expect("it is mapped");
    assert_eq!(m.kind(spare), (FrameKind::User, server));
    assert_eq!(m.peek(client, USER_DATA), Some(1));
}

#[test]
fn a_new_window_in_place_of_the_spare_page_is_seen_at_once() {
    let (mut m, server, client) = pair(TIMELESS);
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    m.act(server, Call::Reply, &[u64::from(client.0)]);
    m.turn_to(server);
    m.write(WINDOW, 66).expect("nobody is harmed");
    m.turn_to(client);
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    // The message is taken without a switch: the server goes on in its address space.
    m.turn_to(server);
    assert_eq!(m.ok(server, Call::Receive, &[PORT]), u64::from(client.0));
    assert_eq!((m.results(server)[3], m.read(WINDOW)), (WINDOW, Some(1)));
}

#[test]
fn idle_time_takes_all_windows_down() {
    let (mut m, server, client) = pair(TIMELESS);
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    reply(&mut m, server, client);
    m.act(client, Call::Sleep, &[10]);
    assert_eq!((m.running(), m.kernel.info().pending_spaces), (client, 0));
    assert_eq!((m.frame(server, WINDOW), m.state(server)), (None, Some(State::Receiving)));
}

#[test]
fn a_time_out_ends_the_loan_but_not_the_window() {
    let (mut m, server, client) = pair("tick-entries=1");
    m.act(client, Call::Call, &[PORT, 0, 0, USER_DATA, PAGE_SIZE, 3]);
    while m.state(client) == Some(State::AwaitingReply) {
        m.act(server, Call::Query, &[]);
    }
    assert_eq!((m.running(), m.error(client)), (client, Some(Error::TimedOut)));
    assert_eq!((m.kernel.info().pending_spaces, m.traced(Kind::LoanEnd).len()), (1, 1));
    assert_eq!(m.frame(server, WINDOW), m.frame(client, USER_DATA));
    m.turn_to(server);
    assert_eq!((m.kernel.info().pending_spaces, m.frame(server, WINDOW)), (0, None));
}

#[test]
fn what_a_dead_lender_lent_waits_in_quarantine_for_the_switch() {
    let (mut m, server, client) = pair(TIMELESS);
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    let (lent, root) = (m.frame(client, USER_DATA).expect("it has data"), m.spawn(PLAIN, 0, 3));
    m.turn_to(root);
    // The switch has taken down nothing: the loan is not over.
    m.ok(root, Call::Kill, &[u64::from(client.0)]);
    assert_eq!(
        (m.kind(lent), m.kernel.info().quarantined),
        ((FrameKind::Quarantined, Pid::NONE), FRAMES[PLAIN] + 2)
    );
    assert_eq!(m.frame(server, WINDOW), Some(lent));
    m.turn_to(server);
    assert_eq!((m.kind(lent), m.kernel.info().quarantined), ((FrameKind::Free, Pid::NONE), 0));
    m.write(WINDOW, 66).expect("there is a spare page");
    assert_eq!(m.kind(lent).0, FrameKind::Free);
    m.refused(server, Call::Reply, &[u64::from(client.0)], Error::Dead);
}

#[test]
fn a_dead_borrower_leaves_its_lenders_all_that_is_theirs() {
    let (mut m, server, client) = pair(TIMELESS);
    let second = m.spawn(PLAIN, 1000, 3);
    let unowned = m.unowned();
    // One loan is over and drains, one is open.
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    reply(&mut m, server, client);
    m.turn_to(second);
    lend(&mut m, second, USER_DATA, PAGE_SIZE);
    let window = m.results(server)[3];
    m.write(window, 7).expect("it is lent");
    m.act(server, Call::Exit, &[]);
    m.turn_to(second);
    assert_eq!((m.error(second), m.read(USER_DATA)), (Some(Error::Dead), Some(7)));
    m.turn_to(client);
    assert_eq!(m.read(USER_DATA), Some(1));
    assert_eq!((m.kernel.info().pending_spaces, m.kernel.info().quarantined), (0, 0));
    // The second has been given the page that it lent.
    assert_eq!(m.unowned(), unowned + FRAMES[PLAIN] + 1 - 1);
}

#[test]
fn when_all_windows_stand_the_next_loan_takes_them_down() {
    let (mut m, server, client) = pair(TIMELESS);
    for _ in 0..WINDOW_SLOTS {
        lend(&mut m, client, USER_DATA, PAGE_SIZE);
        reply(&mut m, server, client);
    }
    assert_eq!(m.traced(Kind::Teardown).len(), 0);
    lend(&mut m, client, USER_DATA, PAGE_SIZE);
    assert_eq!((m.running(), m.traced(Kind::Teardown).len()), (server, WINDOW_SLOTS));
    assert_eq!((m.results(server)[3], m.read(WINDOW)), (WINDOW, Some(1)));
}

#[test]
fn when_all_windows_are_in_use_the_next_loan_is_refused() {
    let (mut m, server, mut lender) = pair(TIMELESS);
    m.watchful = false;
    for _ in 0..WINDOW_SLOTS {
        lend(&mut m, lender, USER_DATA, PAGE_SIZE);
        lender = m.spawn(PLAIN, 1000, 3);
        m.act(server, Call::Receive, &[PORT]);
    }
    m.watchful = true;
    m.refused(lender, Call::Call, &[PORT, 0, 0, USER_DATA, PAGE_SIZE, 9], Error::Exhausted);
    assert_eq!((m.counters().loans, m.state(server)), (WINDOW_SLOTS as u64, Some(State::Receiving)));
    m.act(lender, Call::Call, &[PORT]);
    assert_eq!(m.running(), server, "a message without a loan needs no window");
}
