//! The quarantine: epochs, memory pressure, the pager's fix, and the bug without it.

use std::vec::Vec;

use abi::frame::FrameKind;
use abi::layout::{PAGE_SIZE, USER_DATA, USER_WINDOWS};
use abi::loan::LOAN_NONE;
use abi::process::State;
use abi::syscall::Call;
use abi::trace::Kind;
use abi::{Frame, Pid};
use proptest::prelude::*;

use super::matrix::{BARE, FRAMES, Matrix, PLAIN, TIMELESS};
use crate::base::index::Slot;
use crate::mem::pager::Source;

const FRONT: u64 = 2000;
const BACK: u64 = 2001;
const FIX: &str = "tick-entries=1000000 low-water=0 fix.pager=1";

/// Frames that a process can reach and that belong to somebody else who has not lent them.
fn leaks(m: &mut Matrix) -> Vec<Frame> {
    let mut leaks = Vec::new();
    for slot in m.kernel.named_slots() {
        let process = m.kernel.process(slot);
        let (pid, root) = (process.d.pid, process.root());
        if process.d.state == State::Zombie as u8 || process.d.ring == 0 {
            continue;
        }
        for (_, entry) in m.kernel.hw().space(root).pages {
            let frame = crate::mem::space::frame_of(entry);
            let (kind, owner) = m.kind(frame);
            let lent = m.kernel.loans().iter().any(|loan| {
                loan.state != LOAN_NONE
                    && (loan.lender, loan.borrower) == (owner, pid)
                    && loan.frames.contains(&(frame.0 as u32))
            });
            let harmless = matches!(kind, FrameKind::Program | FrameKind::Quarantined);
            if owner != pid && !lent && !harmless {
                leaks.push(frame);
            }
        }
    }
    leaks
}

/// A client waits on a server that waits on another, which runs; root, ready, sees to the rest.
struct Chain {
    m: Matrix,
    root: Pid,
    client: Pid,
    front: Pid,
    back: Pid,
    /// What the client has lent to the first server.
    lent: Frame,
}

impl Chain {
    fn new(line: &str) -> Self {
        let mut m = Matrix::boot(90, line);
        let [back, front, client] = [100, 100, 1000].map(|uid| m.spawn(PLAIN, uid, 3));
        let root = m.spawn(PLAIN, 0, 3);
        m.schedule();
        m.server(back, BACK);
        m.server(front, FRONT);
        m.act(client, Call::Call, &[FRONT, 0, 0, USER_DATA, PAGE_SIZE]);
        m.act(front, Call::Call, &[BACK]);
        assert_eq!(m.running(), back);
        let lent = m.frame(client, USER_DATA).expect("it has data");
        Self { m, root, client, front, back, lent }
    }

    /// Root takes the waiting client for wedged.
    fn kill_the_client(&mut self) {
        self.m.turn_to(self.root);
        self.m.ok(self.root, Call::Kill, &[u64::from(self.client.0)]);
    }

    /// Root takes so many pages; gives the address of the last.
    fn take(&mut self, pages: u32) -> u64 {
        self.m.fill(self.root, pages) + u64::from(pages) * PAGE_SIZE - PAGE_SIZE
    }

    /// Root takes all that is free; a page table for its heap is part of it.
    fn take_all(&mut self) {
        self.take(self.m.kernel.info().free_frames - 1);
        assert_eq!(self.m.kernel.info().free_frames, 0);
    }

    /// The second server's answer gives the CPU to the first, which answers in place what the client had
    /// asked.
    fn answer_in_place(&mut self, value: u64) -> Option<()> {
        self.m.turn_to(self.back);
        self.m.act(self.back, Call::Reply, &[u64::from(self.front.0), 0, 0, BACK]);
        assert_eq!(self.m.running(), self.front);
        self.m.write(USER_WINDOWS, value)
    }
}

#[test]
fn with_memory_to_spare_a_late_write_falls_into_the_quarantine() {
    let mut c = Chain::new(TIMELESS);
    c.kill_the_client();
    assert_eq!(c.m.kind(c.lent).0, FrameKind::Quarantined);
    assert_eq!(c.m.kernel.info().quarantined, FRAMES[PLAIN] + 2);
    c.answer_in_place(66).expect("the window stands");
    assert_eq!(c.m.kernel.hw().frame(c.lent).0[0], 66);
    assert_eq!((c.m.counters().early_reuses, leaks(&mut c.m).len()), (0, 0));
}

#[test]
fn without_the_fix_an_empty_free_list_breaks_the_quarantine() {
    let mut c = Chain::new(TIMELESS);
    c.kill_the_client();
    c.take_all();
    assert_eq!(c.m.counters().early_reuses, 0);
    // The oldest first: the client's root, pointers, directory, page table, and then what it had lent.
    let page = c.take(5);
    assert_eq!((c.m.counters().early_reuses, c.m.kernel.info().quarantined), (5, FRAMES[PLAIN] + 2 - 5));
    assert_eq!(c.m.last(Kind::Given).c, Source::Early as u64);
    assert_eq!((c.m.kind(c.lent), leaks(&mut c.m)), ((FrameKind::User, c.root), std::vec![c.lent]));
    // And so a server that does its work writes into what is root's.
    assert_eq!(c.m.peek(c.root, page), Some(0));
    c.answer_in_place(66).expect("the window stands");
    assert_eq!(c.m.peek(c.root, page), Some(66));
}

#[test]
fn with_the_fix_an_empty_free_list_takes_the_windows_down_first() {
    let mut c = Chain::new(FIX);
    c.kill_the_client();
    c.take_all();
    assert_eq!((c.m.kernel.info().quarantined, c.m.traced(Kind::Teardown).len()), (FRAMES[PLAIN] + 2, 0));
    c.take(1);
    assert_eq!((c.m.kernel.info().quarantined, c.m.traced(Kind::Teardown).len()), (0, 1));
    c.take(c.m.kernel.info().free_frames);
    assert_eq!((c.m.kind(c.lent), leaks(&mut c.m).len()), ((FrameKind::User, c.root), 0));
    // Nothing is left for a spare page: the server ends for those that it has, and what is root's stays as it
    // was.
    assert_eq!(c.answer_in_place(66), None);
    assert_eq!(c.m.last(Kind::OutOfMemory).pid, c.front);
    assert_eq!((c.m.alive(c.front), c.m.kernel.hw().frame(c.lent).0[0]), (false, 0));
}

#[test]
fn an_epoch_ends_when_the_last_address_space_has_been_through_the_switch() {
    let mut m = Matrix::boot(200, TIMELESS);
    let servers = [FRONT, BACK].map(|port| (m.spawn(PLAIN, 100, 3), port));
    let root = m.spawn(PLAIN, 0, 3);
    let victim = m.spawn(BARE, 1000, 3);
    m.schedule();
    for (server, port) in servers {
        m.server(server, port);
    }
    for (server, port) in servers {
        m.act(root, Call::Call, &[port, 0, 0, USER_DATA, PAGE_SIZE]);
        m.act(server, Call::Reply, &[u64::from(root.0)]);
    }
    m.ok(root, Call::Kill, &[u64::from(victim.0)]);
    for pending in [2, 1] {
        let told = (m.kernel.info().pending_spaces, m.kernel.info().quarantined, m.kernel.info().epoch);
        assert_eq!(told, (pending, FRAMES[BARE] + 1, 1));
        let me = m.running();
        m.act(me, Call::Yield, &[]);
    }
    let (epoch, told) = (m.last(Kind::Epoch), (m.kernel.info().pending_spaces, m.kernel.info().quarantined));
    assert_eq!((epoch.a, epoch.b, told, m.kernel.info().epoch), (1, u64::from(FRAMES[BARE]) + 1, (0, 0), 2));
}

#[test]
fn frames_are_free_at_once_while_no_window_waits() {
    let mut c = Chain::new(TIMELESS);
    let victim = c.m.spawn(BARE, 1000, 3);
    c.m.turn_to(c.root);
    let free = c.m.kernel.info().free_frames;
    // The client's loan is open: its window is where it should be.
    c.m.ok(c.root, Call::Kill, &[u64::from(victim.0)]);
    assert_eq!((c.m.kernel.info().free_frames, c.m.kernel.info().quarantined), (free + FRAMES[BARE] + 1, 0));
}

/// Whoever runs goes about its business: root starts and kills, servers serve, people ask them and lend.
fn business(m: &mut Matrix, [root, front, back]: [Pid; 3], what: u8, pick: usize) {
    let me = m.running();
    let all = m.kernel.named_slots();
    if me == root {
        let victim = all[pick % all.len()];
        let victim = m.kernel.process(victim).d.pid;
        match what % 4 {
            0 if ![root, front, back].contains(&victim) => m.call(Call::Kill as u64, &[u64::from(victim.0)]),
            1 => m.call(Call::Wait as u64, &[1]),
            2 => m.call(Call::Yield as u64, &[]),
            _ => m.call(Call::Spawn as u64, &[PLAIN as u64, 1000, 3]),
        }
        return;
    }
    let waits = |slot: &&Slot| {
        let process = m.kernel.process(**slot);
        process.d.state == State::AwaitingReply as u8 && process.d.peer == me
    };
    let waiter = all.iter().find(waits).copied();
    let waiter = waiter.map_or(0, |slot| u64::from(m.kernel.process(slot).d.pid.0));
    let port = if me == front { FRONT } else { BACK };
    match what % 8 {
        0 | 1 => m.call(Call::Call as u64, &[FRONT, 0, 0, USER_DATA, PAGE_SIZE, 10]),
        2 => m.call(Call::Call as u64, &[BACK, 0, 0, USER_DATA, PAGE_SIZE, 10]),
        3 | 4 => m.call(Call::Reply as u64, &[waiter, 0, 0, port]),
        5 => m.call(Call::Receive as u64, &[port]),
        6 => drop(m.write(USER_WINDOWS + pick as u64 % 8 * 4 * PAGE_SIZE, 66)),
        _ => m.call(Call::Grow as u64, &[PAGE_SIZE]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn with_the_fix_no_frame_within_reach_of_one_is_ever_given_to_another(
        frames in 50usize..80,
        steps in prop::collection::vec((any::<u8>(), 0usize..64), 0..400),
    ) {
        let mut m = Matrix::boot(frames, "tick-entries=8 low-water=0 fix.pager=1");
        let cast = [0, 100, 100].map(|uid| m.spawn(PLAIN, uid, 3));
        m.schedule();
        for (server, port) in [(cast[1], FRONT), (cast[2], BACK)] {
            m.turn_to(server);
            m.act(server, Call::Bind, &[port]);
        }
        for (what, pick) in steps {
            business(&mut m, cast, what, pick);
            prop_assert_eq!(leaks(&mut m), std::vec![]);
        }
        prop_assert_eq!(m.counters().early_reuses, 0);
    }
}
