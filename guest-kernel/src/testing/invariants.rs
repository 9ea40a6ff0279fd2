//! What must hold after every kernel entry. Everything is read from the tables and page tables themselves, by
//! other ways than the kernel's own.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use abi::frame::FrameKind;
use abi::layout::{
    LOAN_PAGES, PAGE_SIZE, USER_DATA, USER_HEAP, USER_HEAP_END, USER_STATE, USER_TEXT, USER_WINDOWS,
    WINDOW_SLOTS,
};
use abi::loan::{LOAN_ACTIVE, LOAN_DRAINING, LOAN_NONE, Loan};
use abi::process::{DESCRIPTOR_MAGIC, PROCESS_SLOTS, State};
use abi::service::{SERVICE_BARRED, SERVICE_DONE, SERVICE_RUNS};
use abi::{Frame, GuestVirt, Pid};

use super::machine::FakeMachine;
use super::matrix::{FIRST, KERNEL_ROOT, MODULE, MODULE_PAGES};
use crate::base::index::{LoanIndex, PortIndex, Slot};
use crate::base::process::PRIORITIES;
use crate::kernel::Kernel;
use crate::mem::space::{DATA, RODATA, TEXT, frame_of};

type K = Kernel<FakeMachine>;

/// What a process says of itself.
#[derive(Clone, Copy)]
struct Seen {
    slot: Slot,
    pid: Pid,
    parent: Pid,
    state: State,
    ring: u8,
    effective: u8,
    own_priority: u8,
    program: u32,
    root: Frame,
    peer: Pid,
    port: PortIndex,
    loan: LoanIndex,
    pending: LoanIndex,
    windows: u64,
    spare: u32,
    serves: bool,
    children: u32,
}

/// Looks at everything.
pub(super) fn check(kernel: &mut K) {
    let all = processes(kernel);
    running(kernel, &all);
    waiting(kernel, &all);
    timers(kernel, &all);
    priorities(kernel, &all);
    loans(kernel, &all);
    super::network::check(kernel);
    frames(kernel, &all);
    for process in all.iter().filter(|process| process.ring == 3 && process.state != State::Zombie) {
        space(kernel, process);
    }
    let current = kernel.machine().space(kernel.machine().root);
    assert_eq!(kernel.machine().stale_translation(&current), None, "a stale translation is cached");
    let untouched = |page: &u32| {
        let words = &kernel.machine().frame(Frame(u64::from(MODULE + page))).0;
        words.iter().all(|word| *word == u64::from(*page))
    };
    assert!((1..MODULE_PAGES).all(|page| untouched(&page)), "a program's text was written to");
}

/// Every descriptor is where its pid says, and families agree about their members.
fn processes(kernel: &mut K) -> Vec<Seen> {
    let slots = (0..PROCESS_SLOTS).map(Slot::new).filter(|slot| kernel.is_taken(*slot)).collect::<Vec<_>>();
    // A test may have taken a process out of the table; nothing else makes it differ from the kernel's own
    // list.
    for slot in kernel.named_slots() {
        let descriptor = kernel.descriptor(slot);
        assert_eq!(
            u64::from(kernel.process_table()[slot.index()]),
            descriptor.0,
            "the process table's slot {slot:?}"
        );
    }
    let mut all = Vec::new();
    for slot in slots {
        let frame = kernel.descriptor(slot);
        let process = kernel.process(slot);
        let d = &process.d;
        assert_eq!(
            (d.magic, Slot::of(d.pid)),
            (DESCRIPTOR_MAGIC, slot),
            "the descriptor of slot {slot:?} is damaged"
        );
        all.push(Seen {
            slot,
            pid: d.pid,
            parent: d.parent,
            state: State::from_raw(d.state).expect("a state"),
            ring: d.ring,
            effective: d.effective,
            own_priority: process.own_priority(),
            program: d.program,
            root: process.root(),
            peer: d.peer,
            port: process.port,
            loan: process.loan,
            pending: process.pending,
            windows: process.windows,
            spare: process.spare,
            serves: process.serves != 0,
            children: process.children,
        });
        let entry = kernel.pager().entry(frame).expect("its frame exists");
        let pid = all[all.len() - 1].pid;
        assert_eq!((entry.kind, entry.owner), (FrameKind::Descriptor as u8, pid), "the descriptor of {pid}");
    }
    for process in &all {
        let pid = process.pid;
        assert_ne!(process.state, State::Embryo, "{pid} was never born");
        if process.parent != Pid::NONE {
            assert!(find(&all, process.parent).is_some(), "{pid} belongs to a parent that is dead");
        }
        if process.state == State::Zombie {
            assert!(process.parent != Pid::NONE, "nobody will ask for {pid}");
            assert_eq!(
                (process.root, process.loan, process.pending),
                (Frame(0), LoanIndex::NONE, LoanIndex::NONE),
                "{pid} holds on"
            );
        } else {
            let children = all.iter().filter(|child| child.parent == pid).count();
            assert_eq!(process.children as usize, children, "children of {pid}");
        }
    }
    let alive = all.iter().filter(|process| process.state != State::Zombie).count();
    assert_eq!(kernel.info().alive as usize, alive, "processes alive");
    all
}

/// The process with this pid, if it is alive.
fn find(all: &[Seen], pid: Pid) -> Option<&Seen> {
    all.iter().find(|process| process.pid == pid && process.state != State::Zombie)
}

/// One process runs, in its own address space, and the machine will resume it.
fn running(kernel: &mut K, all: &[Seen]) {
    let running: Vec<_> = all.iter().filter(|process| process.state == State::Running).collect();
    assert_eq!(running.len(), 1, "processes that run");
    assert_eq!((running[0].slot, running[0].pid), (kernel.current(), kernel.info().current));
    assert_eq!(kernel.machine().root, running[0].root, "it runs in another's address space");
    assert_eq!(kernel.machine().resumed.0, kernel.descriptor(kernel.current()).0, "another is resumed");
}

/// Whoever waits is in the one queue where it will be found, and in no other.
fn waiting(kernel: &mut K, all: &[Seen]) {
    let mut queued = [None; PROCESS_SLOTS];
    let mut enqueue = |slot: Slot, state: State, what: &dyn Fn(&Seen) -> bool| {
        let process = all.iter().find(|process| process.slot == slot).expect("a queue holds processes only");
        assert_eq!(process.state, state, "{} waits in the wrong place", process.pid);
        assert!(what(process), "{} waits in the wrong queue", process.pid);
        assert_eq!(queued[slot.index()].replace(state), None, "{} waits twice", process.pid);
    };
    for (priority, _, queue) in kernel.ready().queues() {
        for slot in kernel.all_links().members(queue) {
            enqueue(slot, State::Ready, &|p| usize::from(p.effective).min(PRIORITIES - 1) == priority);
        }
    }
    let mut owners = BTreeMap::new();
    for (place, number, owner, senders) in kernel.ports().list() {
        let server = find(all, owner).expect("the owner of a port is alive");
        assert!(server.serves, "{owner} has port {number}");
        assert_eq!(owners.insert(place, owner), None);
        assert!(server.state != State::Receiving || server.port != place || senders.is_empty());
        for slot in kernel.all_links().members(senders) {
            enqueue(slot, State::Sending, &|p| p.port == place && p.loan.is_none());
        }
    }
    for parent in all.iter().filter(|process| process.state != State::Zombie) {
        let zombies = kernel.process(parent.slot).zombies;
        for slot in kernel.all_links().members(zombies) {
            enqueue(slot, State::Zombie, &|p| p.parent == parent.pid);
        }
        assert!(parent.state != State::Waiting || zombies.is_empty(), "{} waits in vain", parent.pid);
    }
    for process in all {
        let expected = match process.state {
            State::Ready | State::Sending | State::Zombie => Some(process.state),
            _ => None,
        };
        assert_eq!(queued[process.slot.index()], expected, "{} waits where nobody finds it", process.pid);
        match process.state {
            State::Receiving => assert_eq!(owners.get(&process.port), Some(&process.pid)),
            State::AwaitingReply => {
                assert!(find(all, process.peer).is_some(), "{} awaits a dead one's reply", process.pid);
                assert_eq!(owners.get(&process.port), Some(&process.peer));
            }
            _ => assert_eq!(process.loan, LoanIndex::NONE, "{} lends without a call", process.pid),
        }
    }
}

/// Whoever waits for another says for whom, and lends its priority where priorities are inherited.
fn priorities(kernel: &K, all: &[Seen]) {
    for process in all {
        let waits = matches!(process.state, State::Sending | State::AwaitingReply | State::Gated);
        assert!(waits || process.peer == Pid::NONE, "{} waits for {}", process.pid, process.peer);
        let lent = all.iter().filter(|waiter| kernel.params().fix_priorities && waiter.peer == process.pid);
        let most = lent.map(|waiter| waiter.effective).min().unwrap_or(u8::MAX);
        assert_eq!(process.effective, process.own_priority.min(most), "the priority of {}", process.pid);
    }
}

/// Timers are in order, none is overdue, and none runs for somebody who does not wait.
fn timers(kernel: &K, all: &[Seen]) {
    let (now, timers) = (kernel.info().tick, kernel.running_timers());
    assert!(timers.is_sorted_by_key(|(_, due)| *due));
    // While the timer's interrupt is not acknowledged, nobody can be blamed.
    let late = kernel.timer().is_raised() || now == u64::MAX;
    assert!(late || timers.iter().all(|(_, due)| *due > now), "a timer is overdue");
    for (nth, (slot, _)) in timers.iter().enumerate() {
        let process = all.iter().find(|process| process.slot == *slot).expect("timers are for processes");
        let waits = !matches!(process.state, State::Embryo | State::Ready | State::Running | State::Zombie);
        assert!(waits, "a timer runs for {} in state {}", process.pid, process.state.name());
        assert!(timers[..nth].iter().all(|(other, _)| other != slot), "{} has two timers", process.pid);
    }
    for process in all.iter().filter(|process| process.state == State::Sleeping) {
        assert!(timers.iter().any(|(slot, _)| *slot == process.slot), "{} sleeps for ever", process.pid);
    }
}

/// Every loan has the two that it says, every window its loan; ended ones wait in their borrower's list.
fn loans(kernel: &mut K, all: &[Seen]) {
    let mut windows = [0u64; PROCESS_SLOTS];
    let mut draining = 0;
    for (index, loan) in kernel.loans().iter().enumerate().filter(|(_, loan)| loan.state != LOAN_NONE) {
        let borrower = find(all, loan.borrower).expect("the borrower is alive");
        assert!((1..=LOAN_PAGES as u32).contains(&loan.pages));
        let (place, rest) = (window_place(loan.window), loan.window.0 % (LOAN_PAGES as u64 * PAGE_SIZE));
        assert!(place < WINDOW_SLOTS && rest == 0, "the window of loan {} is out of place", loan.id);
        assert_eq!(windows[borrower.slot.index()] & (1 << place), 0, "two loans share a window");
        windows[borrower.slot.index()] |= 1 << place;
        let lender = all.iter().filter(|process| process.loan == LoanIndex::new(index));
        let lender: Vec<_> = lender.map(|process| (process.pid, process.peer)).collect();
        if loan.state == LOAN_ACTIVE {
            assert_eq!(lender, vec![(loan.lender, loan.borrower)], "loan {} has no end", loan.id);
        } else {
            assert_eq!((loan.state, lender.len()), (LOAN_DRAINING, 0));
            draining += 1;
        }
    }
    for process in all.iter().filter(|process| process.state != State::Zombie) {
        assert_eq!(process.windows, windows[process.slot.index()], "windows of {}", process.pid);
        let mut next = process.pending;
        while !next.is_none() {
            let Loan { state, borrower, next: after, .. } = *kernel.loan(next);
            assert_eq!((state, borrower), (LOAN_DRAINING, process.pid), "pending of {}", process.pid);
            draining -= 1;
            assert!(draining >= 0, "a loan is pending twice");
            next = LoanIndex::from_link(after);
        }
    }
    assert_eq!(draining, 0, "an ended loan is forgotten");
    let pending = all.iter().filter(|process| !process.pending.is_none()).count();
    assert_eq!(kernel.info().pending_spaces as usize, pending, "address spaces with something pending");
    assert!(pending != 0 || kernel.info().quarantined == 0, "the epoch did not end");
}

/// No frame is lost and none has two owners.
fn frames(kernel: &mut K, all: &[Seen]) {
    let total = kernel.info().frames;
    let mut counts = [0u32; FrameKind::ALL.len()];
    let withheld = kernel.withheld();
    for number in 0..total {
        let entry = kernel.pager().entry(Frame(u64::from(number))).expect("the table has all frames");
        let kind = FrameKind::from_raw(entry.kind).expect("a kind");
        counts[kind as usize] += 1;
        let taken = if number < FIRST {
            Some(FrameKind::Kernel)
        } else {
            (MODULE..MODULE + MODULE_PAGES).contains(&number).then_some(FrameKind::Program)
        };
        match taken {
            Some(taken) => assert_eq!(kind, taken, "frame {number:#x} was given away"),
            None if withheld.contains(&number) => assert_eq!(kind, FrameKind::Kernel),
            None => assert!(kind != FrameKind::Kernel && kind != FrameKind::Program),
        }
        let mut owned = matches!(
            kind,
            FrameKind::PageTable
                | FrameKind::Descriptor
                | FrameKind::KernelStack
                | FrameKind::User
                | FrameKind::Keys
                | FrameKind::Shared
        );
        if let Some(service) = kernel.services().iter().find(|service| service.warm == number && number != 0)
        {
            // A service's own page stays while the service is down.
            assert_eq!(kind, FrameKind::Shared);
            owned = entry.owner == service.pid && service.state == SERVICE_RUNS;
        }
        assert_eq!(owned, entry.owner != Pid::NONE, "frame {number:#x} is {kind:?} of {}", entry.owner);
    }
    let over = |state: u8| state == SERVICE_DONE || state == SERVICE_BARRED;
    let kept = kernel.services().iter().find(|service| over(service.state) && service.warm != 0);
    assert!(kept.is_none(), "a page is kept for nobody");
    let count = |kind: FrameKind| counts[kind as usize];
    let (free, quarantined) = (kernel.pager().free_frames(), kernel.pager().quarantined());
    assert_eq!(count(FrameKind::Free) + count(FrameKind::Unused), free, "free frames");
    assert_eq!(count(FrameKind::Quarantined), quarantined, "quarantined frames");
    let published = (kernel.info().free_frames, kernel.info().quarantined, kernel.info().epoch);
    assert_eq!(published, (free, quarantined, kernel.pager().epoch()), "what the host is told");
    let mut held = vec![false; total as usize];
    let mut owned = all.len() as u32;
    owned += kernel.services().iter().filter(|service| service.warm != 0).count() as u32;
    for process in all {
        let (mut next, mut length) = (kernel.process(process.slot).frames().first, 0);
        while next != 0 {
            let entry = kernel.pager().entry(Frame(u64::from(next))).expect("a chain holds frames");
            assert_eq!(entry.owner, process.pid, "frame {next:#x} belongs to another");
            assert_ne!(entry.kind, FrameKind::Descriptor as u8, "descriptors are in no chain");
            assert!(!core::mem::replace(&mut held[next as usize], true), "frame {next:#x} is owned twice");
            owned += 1;
            length += 1;
            next = entry.next;
        }
        let account = kernel.process(process.slot).d.frames;
        let right = if kernel.info().counters.calls_v1 == 0 { account == length } else { account <= length };
        assert!(right, "{} has {length} frames, and {account} in its account", process.pid);
    }
    let buffers = count(FrameKind::Buffer);
    assert_eq!(buffers, kernel.buffers().frames(), "frames of buffers");
    let kept = withheld.len() as u32 + FIRST + MODULE_PAGES;
    assert_eq!(free + quarantined + owned + buffers + kept, total, "frames were lost");
    assert!(
        !kernel.params().fix_pager || kernel.info().counters.early_reuses == 0,
        "the quarantine was broken"
    );
}

/// An address space maps what its owner may reach, and nothing else.
fn space(kernel: &mut K, process: &Seen) {
    let pid = process.pid;
    let own = |kernel: &K, frame: Frame, kind: FrameKind| {
        let entry = kernel.pager().entry(frame).expect("there is such a frame");
        assert_eq!((entry.kind, entry.owner), (kind as u8, pid), "{frame:?} in the space of {pid}");
    };
    let space = kernel.machine().space(process.root);
    for table in &space.tables {
        own(kernel, *table, FrameKind::PageTable);
    }
    let given = kernel.process(process.slot).frames().first;
    let chain =
        |next: &u32| kernel.pager().entry(Frame(u64::from(*next))).map(|e| e.next).filter(|n| *n != 0);
    let chain = core::iter::successors(Some(given), chain);
    let is_table = |frame: &u32| {
        kernel.pager().entry(Frame(u64::from(*frame))).is_some_and(|e| e.kind == FrameKind::PageTable as u8)
    };
    assert_eq!(chain.filter(is_table).count(), space.tables.len(), "page tables of {pid}");
    let (mine, kernels) = (&kernel.machine().frame(process.root).0, &kernel.machine().frame(KERNEL_ROOT).0);
    assert_eq!(mine[256..], kernels[256..], "the kernel's half of {pid}");

    let program = *kernel.module().program(process.program as usize).expect("it was started");
    let tagged = kernel.process(process.slot).d.tagged != 0;
    let mut program_pages = 0;
    let mut private = Vec::new();
    let mut windows = BTreeMap::new();
    for (page, entry) in &space.pages {
        let (frame, flags) = (frame_of(*entry), entry & !0x000f_ffff_ffff_f000);
        match page.0 {
            // Who was tagged has the image of whoever tagged it, as far as it goes.
            USER_TEXT..USER_DATA if tagged => {
                assert!(flags == TEXT || flags == RODATA, "{page} of {pid}");
                assert_eq!(kernel.pager().entry(frame).map(|e| e.kind), Some(FrameKind::Program as u8));
            }
            USER_TEXT..USER_DATA => {
                let nth = ((page.0 - USER_TEXT) / PAGE_SIZE) as u32;
                let rights = if nth < program.text_pages { TEXT } else { RODATA };
                assert_eq!((frame, flags), (kernel.module().frame(program.text_page + nth), rights));
                program_pages += 1;
            }
            USER_DATA..USER_WINDOWS | USER_HEAP..USER_HEAP_END => {
                let shared = page.0 == USER_STATE;
                own(kernel, frame, if shared { FrameKind::Shared } else { FrameKind::User });
                assert_eq!(flags, DATA, "{page} of {pid}");
                private.push(frame);
            }
            USER_WINDOWS..USER_HEAP => {
                assert_eq!(flags, DATA, "{page} of {pid}");
                windows.insert(page.0, frame);
            }
            _ => panic!("{pid} has {page} mapped"),
        }
    }
    assert!(tagged || program_pages == program.text_pages + program.rodata_pages, "the image of {pid}");
    let mapped = private.len();
    private.sort();
    private.dedup();
    assert_eq!(private.len(), mapped, "{pid} has a frame twice");

    for loan in kernel.loans().iter().filter(|loan| loan.state != LOAN_NONE && loan.borrower == pid) {
        for nth in 0..loan.pages as usize {
            let frame = windows.remove(&(loan.window.0 + nth as u64 * PAGE_SIZE));
            assert_eq!(frame, Some(Frame(u64::from(loan.frames[nth]))), "the window of loan {}", loan.id);
        }
    }
    if !windows.is_empty() {
        let spare = Frame(u64::from(process.spare));
        own(kernel, spare, FrameKind::User);
        assert!(windows.values().all(|frame| *frame == spare), "{pid} has a window without a loan");
    }
    reachable(kernel, pid);
}

/// Behind a window are frames of its lender; or, once the lender is dead, frames that nobody else has been
/// given.
fn reachable(kernel: &mut K, borrower: Pid) {
    for index in 0..kernel.loans().len() {
        let loan = kernel.loans()[index];
        if loan.state == LOAN_NONE || loan.borrower != borrower {
            continue;
        }
        let lender = kernel.find(loan.lender).filter(|slot| {
            let process = kernel.process(*slot);
            process.d.state != State::Zombie as u8
        });
        for nth in 0..loan.pages as usize {
            let frame = Frame(u64::from(loan.frames[nth]));
            let entry = kernel.pager().entry(frame).expect("there is such a frame");
            match lender {
                Some(slot) => {
                    assert_eq!((entry.kind, entry.owner), (FrameKind::User as u8, loan.lender), "{frame:?}");
                    let source = kernel.entry(slot, loan.source.add(nth as u64 * PAGE_SIZE));
                    assert_eq!(frame_of(source), frame, "the source of loan {}", loan.id);
                }
                None if kernel.info().counters.early_reuses == 0 => {
                    assert_eq!(
                        entry.kind,
                        FrameKind::Quarantined as u8,
                        "{frame:?} is reachable through the dead window of loan {} and given to {}",
                        loan.id,
                        entry.owner
                    );
                }
                None => {}
            }
        }
    }
}

fn window_place(window: GuestVirt) -> usize {
    ((window.0 - USER_WINDOWS) / (LOAN_PAGES as u64 * PAGE_SIZE)) as usize
}
