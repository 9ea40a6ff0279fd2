//! The policy on single situations, mainly those of the Matrix's compound bug.

use abi::frame::FrameKind;
use abi::loan::{LOAN_ACTIVE, LOAN_DRAINING, Loan};
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::policy::{self, Party, Standing};
use introspect::matrix::space::{pid as pid_of, space_id};
use introspect::matrix::{Finding, Policy, What};
use introspect::x86::{Paging, ReverseMap, Space};

use crate::machine::{Machine, RO, RW, RWX, RX};

const HEAP: GuestVirt = GuestVirt(abi::layout::USER_HEAP);
const WINDOW: GuestVirt = GuestVirt(abi::layout::USER_WINDOWS);
const LENDER: Pid = Pid::new(1, 1);
const SERVER: Pid = Pid::new(2, 1);
const HEIR: Pid = Pid::new(3, 4);

/// A lender, a server and a third process.
struct Town {
    machine: Machine,
    spaces: Vec<Space>,
    loans: Vec<Loan>,
}

impl Town {
    fn new() -> Self {
        let mut machine = Machine::new(128);
        let spaces =
            [LENDER, SERVER, HEIR].map(|pid| Space { id: space_id(pid), root: machine.root(pid) }).to_vec();
        Self { machine, spaces, loans: Vec::new() }
    }

    fn map(&mut self, pid: Pid, virt: GuestVirt, frame: Frame, flags: u64) -> GuestPhys {
        let root = self.spaces.iter().find(|space| pid_of(space.id) == pid).unwrap().root;
        self.machine.map(root, virt, frame, flags)
    }

    /// Lends the lender's page to the server; returns the frame and both entries.
    fn lend(&mut self, state: u32) -> (Frame, [GuestPhys; 2]) {
        let frame = self.machine.frame(FrameKind::User, LENDER);
        let entries = [self.map(LENDER, HEAP, frame, RW), self.map(SERVER, WINDOW, frame, RW)];
        let mut loan = Loan { state, id: 7, lender: LENDER, borrower: SERVER, pages: 1, ..Loan::default() };
        (loan.source, loan.window) = (HEAP, WINDOW);
        loan.frames[0] = frame.0 as u32;
        self.loans.push(loan);
        (frame, entries)
    }

    /// Ends the lender: its frame goes into quarantine, its address space is removed.
    fn bury_the_lender(&mut self, frame: Frame) {
        self.spaces.retain(|space| pid_of(space.id) != LENDER);
        self.machine.set_fact(frame, FrameKind::Quarantined, Pid::NONE);
    }

    fn findings(&self) -> Vec<Finding> {
        let spaces = self.spaces.iter().copied();
        let map = ReverseMap::build(&self.machine.memory, Paging::default(), spaces, ReverseMap::BUDGET);
        policy::check(&map, &self.machine.frames, &self.loans)
    }

    fn kinds(&self) -> Vec<What> {
        self.findings().iter().map(|finding| finding.what).collect()
    }
}

#[test]
fn a_loan_covers_its_two_parties_while_it_lives_and_while_it_drains() {
    for state in [LOAN_ACTIVE, LOAN_DRAINING] {
        let mut town = Town::new();
        let (frame, _) = town.lend(state);
        assert_eq!(town.kinds(), []);
        town.bury_the_lender(frame);
        assert_eq!(town.kinds(), [], "a dead window into quarantine is in order");
        town.machine.set_fact(frame, FrameKind::Quarantined, LENDER);
        assert_eq!(town.kinds(), [], "also while the frame table still names the lender");
        town.machine.set_fact(frame, FrameKind::Quarantined, HEIR);
        assert_eq!(town.kinds(), [What::Stale], "but not if the frame had another owner by then");
    }
}

#[test]
fn without_the_loan_it_is_a_leak_with_all_its_evidence() {
    let mut town = Town::new();
    let (frame, entries) = town.lend(LOAN_ACTIVE);
    town.loans.clear();
    let [leak] = town.findings().try_into().unwrap();
    assert_eq!((leak.what, leak.frame, leak.fact.owner()), (What::Leak, frame, LENDER));
    assert_eq!(leak.fact.kind(), Some(FrameKind::User));
    let rights = introspect::Rights { write: true, user: true, execute: false };
    let party = |pid, virt, entry, standing| Party { pid, virt, rights, entry, standing, loan: None };
    let expected = [
        party(LENDER, HEAP, entries[0], Standing::Owner),
        party(SERVER, WINDOW, entries[1], Standing::Uncovered),
    ];
    assert_eq!(leak.parties, expected);
    assert_eq!(leak.uncovered().collect::<Vec<_>>(), [&expected[1]]);
}

#[test]
fn a_loan_covers_nobody_else_and_no_other_place() {
    let spoilers: [fn(&mut Loan); 6] = [
        |loan| loan.borrower = HEIR,
        |loan| loan.lender = HEIR,
        |loan| loan.window = loan.window.add(4096),
        |loan| loan.frames = [1; 4],
        |loan| loan.pages = 0,
        |loan| loan.lender = Pid::new(LENDER.slot(), LENDER.generation() + 1),
    ];
    for spoil in spoilers {
        let mut town = Town::new();
        town.lend(LOAN_ACTIVE);
        spoil(&mut town.loans[0]);
        assert_eq!(town.kinds(), [What::Leak]);
    }
}

#[test]
fn what_a_borrower_lends_on_is_a_leak() {
    let mut town = Town::new();
    let (frame, _) = town.lend(LOAN_ACTIVE);
    town.map(HEIR, WINDOW, frame, RW);
    let onward = Loan { id: 8, lender: SERVER, borrower: HEIR, source: WINDOW, ..town.loans[0] };
    town.loans.push(onward);
    let [leak] = town.findings().try_into().unwrap();
    let standings: Vec<_> = leak.parties.iter().map(|p| (p.pid, p.standing, p.loan)).collect();
    let expected = [
        (LENDER, Standing::Owner, Some(7)),
        (HEIR, Standing::Uncovered, Some(8)),
        (SERVER, Standing::Covered, Some(7)),
    ];
    assert_eq!(standings, expected);
}

#[test]
fn a_quarantined_frame_given_away_too_early_is_a_leak_before_and_after_its_heir_maps_it() {
    let mut town = Town::new();
    let (frame, entries) = town.lend(LOAN_DRAINING);
    town.bury_the_lender(frame);
    town.machine.set_fact(frame, FrameKind::User, HEIR);
    let [leak] = town.findings().try_into().unwrap();
    assert_eq!((leak.what, leak.fact.owner(), leak.parties.len()), (What::Leak, HEIR, 1));
    let server = leak.parties[0];
    assert_eq!((server.pid, server.entry, server.loan), (SERVER, entries[1], Some(7)));
    assert_eq!(server.standing, Standing::Uncovered);

    town.map(HEIR, HEAP, frame, RW);
    let [leak] = town.findings().try_into().unwrap();
    let pids: Vec<_> = leak.parties.iter().map(|party| party.pid).collect();
    assert_eq!((leak.what, pids), (What::Leak, vec![HEIR, SERVER]));
}

#[test]
fn a_quarantined_frame_given_to_the_kernel_is_a_crossing() {
    let kernels = FrameKind::ALL.into_iter().filter(|kind| kind.is_kernel());
    for kind in kernels {
        let mut town = Town::new();
        let (frame, entries) = town.lend(LOAN_DRAINING);
        town.bury_the_lender(frame);
        town.machine.set_fact(frame, kind, HEIR);
        let [crossing] = town.findings().try_into().unwrap();
        assert_eq!((crossing.what, crossing.fact.kind()), (What::Crossing, Some(kind)));
        let party = crossing.parties[0];
        assert_eq!((party.pid, party.virt, party.entry, party.loan), (SERVER, WINDOW, entries[1], Some(7)));
    }
}

#[test]
fn a_page_shared_with_the_kernel_is_its_owners_alone_and_cannot_be_lent() {
    let mut town = Town::new();
    let (frame, _) = town.lend(LOAN_ACTIVE);
    town.machine.set_fact(frame, FrameKind::Shared, LENDER);
    let [leak] = town.findings().try_into().unwrap();
    let standings: Vec<_> = leak.parties.iter().map(|p| (p.pid, p.standing)).collect();
    assert_eq!(leak.what, What::Leak);
    assert_eq!(standings, [(LENDER, Standing::Owner), (SERVER, Standing::Uncovered)]);

    let mut town = Town::new();
    let page = town.machine.frame(FrameKind::Shared, LENDER);
    town.map(LENDER, HEAP, page, RW);
    assert_eq!(town.kinds(), []);
    town.machine.set_fact(page, FrameKind::Shared, Pid::NONE);
    assert_eq!(town.kinds(), [What::Stale], "a free frame must not be mapped");
}

#[test]
fn buffers_and_keys_are_the_kernels() {
    for kind in [FrameKind::Buffer, FrameKind::Keys] {
        let mut town = Town::new();
        let frame = town.machine.frame(kind, Pid::NONE);
        town.map(SERVER, HEAP, frame, RO);
        assert_eq!(town.kinds(), [What::Crossing]);
    }
}

#[test]
fn what_belongs_to_nobody_is_stale_or_leaks() {
    for kind in [FrameKind::Free, FrameKind::Unused, FrameKind::Quarantined] {
        let mut town = Town::new();
        let frame = town.machine.frame(kind, Pid::NONE);
        town.map(SERVER, HEAP, frame, RO);
        assert_eq!(town.kinds(), [What::Stale]);
        town.map(HEIR, HEAP, frame, RO);
        assert_eq!(town.kinds(), [What::Leak]);
    }
    // No loan covers a frame on the free list, even while the loan itself is draining.
    let mut town = Town::new();
    let (frame, _) = town.lend(LOAN_DRAINING);
    town.bury_the_lender(frame);
    town.machine.set_fact(frame, FrameKind::Free, Pid::NONE);
    let [stale] = town.findings().try_into().unwrap();
    assert_eq!((stale.what, stale.parties[0].standing), (What::Stale, Standing::Uncovered));
    // An unknown kind, a user frame without owner, and a frame beyond the table.
    town.machine.frames[frame.0 as usize].kind = 99;
    assert_eq!(town.kinds(), [What::Stale]);
    town.machine.set_fact(frame, FrameKind::User, Pid::NONE);
    assert_eq!(town.kinds(), [What::Stale]);
    town.machine.frames.truncate(frame.0 as usize);
    let [stale] = town.findings().try_into().unwrap();
    assert_eq!((stale.what, stale.fact), (What::Stale, policy::Fact(None)));
}

#[test]
fn a_lender_that_freed_its_page_and_still_maps_it_is_covered_at_the_source_only() {
    let mut town = Town::new();
    let (frame, _) = town.lend(LOAN_DRAINING);
    town.machine.set_fact(frame, FrameKind::Quarantined, LENDER);
    assert_eq!(town.kinds(), []);
    town.loans[0].source = HEAP.add(4096);
    assert_eq!(town.kinds(), [What::Leak]);
}

#[test]
fn programs_are_everybodys_to_read() {
    let mut town = Town::new();
    let text = town.machine.frame(FrameKind::Program, Pid::NONE);
    for pid in [LENDER, SERVER, HEIR] {
        town.map(pid, HEAP, text, RX);
    }
    assert_eq!(town.kinds(), []);
    town.map(HEIR, HEAP, text, RW);
    let [finding] = town.findings().try_into().unwrap();
    assert_eq!((finding.what, finding.parties[0].pid), (What::ProgramWritable, HEIR));
    town.map(HEIR, HEAP, text, RWX);
    assert_eq!(town.kinds(), [What::ProgramWritable, What::WritableExecutable]);
}

#[test]
fn two_addresses_in_one_process_are_an_alias_and_no_violation() {
    let mut town = Town::new();
    let frame = town.machine.frame(FrameKind::User, SERVER);
    for nth in 0..100 {
        town.map(SERVER, HEAP.add(nth * 4096), frame, RW);
    }
    let [alias] = town.findings().try_into().unwrap();
    assert!(alias.what == What::Alias && !alias.what.is_violation());
    assert_eq!((alias.parties.len(), alias.omitted), (Finding::MOST_PARTIES, 36));
    assert_eq!(alias.parties[1].virt, HEAP.add(4096));
}

#[test]
fn the_kernels_own_space_owns_nothing_that_ring_3_can_use() {
    let mut town = Town::new();
    let frame = town.machine.frame(FrameKind::User, Pid::NONE);
    let root = town.machine.root(Pid::NONE);
    town.spaces.push(Space { id: space_id(Pid::NONE), root });
    town.map(Pid::NONE, HEAP, frame, RW);
    let [stale] = town.findings().try_into().unwrap();
    assert_eq!((stale.what, stale.parties[0].standing), (What::Stale, Standing::Uncovered));
}

#[test]
fn findings_of_one_kind_are_listed_up_to_a_bound_and_counted_all() {
    let mut machine = Machine::new(8);
    let root = machine.root(SERVER);
    let entry = machine.entry(root, 0, 1);
    // One table of 512 pages, in 40 entries of the level above: 20480 paths to the kernel's frame.
    machine.put(GuestPhys(entry.0 & !0xfff), &[RW; 512]);
    let level2 = machine.entry(root, 0, 2);
    machine.put(level2, &[machine.get(level2); 40]);
    let map = ReverseMap::build(
        &machine.memory,
        Paging::default(),
        [Space { id: space_id(SERVER), root }],
        ReverseMap::BUDGET,
    );
    let mut policy = Policy::default();
    let mut findings = Vec::new();
    policy.check(&map, &machine.frames, &[], &mut findings);
    assert_eq!(policy.tally(What::Crossing), 512 * 40);
    assert_eq!(findings.len() as u64, Policy::MOST_OF_A_KIND + 1);
    assert_eq!(findings.last().unwrap().what, What::Alias);
    policy.check(&map, &machine.frames[..0], &[], &mut findings);
    assert_eq!((policy.tally(What::Crossing), policy.tally(What::Stale)), (0, 1));
}
