//! The two presets on the same memory: findings of only one of them, false findings of Linux's rules, and
//! common ones. Also the frames of the kernel's own objects.

use abi::frame::FrameKind;
use abi::layout::{USER_HEAP, USER_WINDOWS};
use abi::loan::{LOAN_ACTIVE, LOAN_DRAINING, Loan};
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::policy::{Object, Preset, Role, Standing};
use introspect::matrix::space::space_id;
use introspect::matrix::{Finding, Policy, What};
use introspect::x86::{Paging, ReverseMap, Space};

use crate::machine::{Machine, RO, RW, RWX, RX};

const HEAP: GuestVirt = GuestVirt(USER_HEAP);
const WINDOW: GuestVirt = GuestVirt(USER_WINDOWS);
const OWNER: Pid = Pid::new(1, 1);
const OTHER: Pid = Pid::new(2, 1);

/// Two processes; the first has a page.
struct Pair {
    machine: Machine,
    spaces: [Space; 2],
    page: Frame,
    loans: Vec<Loan>,
}

impl Pair {
    fn new(flags: u64) -> Self {
        let mut machine = Machine::new(64);
        let spaces = [OWNER, OTHER].map(|pid| Space { id: space_id(pid), root: machine.root(pid) });
        let page = machine.frame(FrameKind::User, OWNER);
        machine.map(spaces[0].root, HEAP, page, flags);
        Self { machine, spaces, page, loans: Vec::new() }
    }

    /// Maps the page for a process that does not own it.
    fn share(mut self, virt: GuestVirt, flags: u64) -> Self {
        self.machine.map(self.spaces[1].root, virt, self.page, flags);
        self
    }

    /// Lends the page of this process, at the window.
    fn lend(mut self, state: u32, lender: Pid) -> Self {
        let mut loan = Loan { state, id: 3, lender, borrower: OTHER, pages: 1, ..Loan::default() };
        (loan.source, loan.window, loan.frames[0]) = (HEAP, WINDOW, self.page.0 as u32);
        self.loans.push(loan);
        self
    }

    fn given(mut self, kind: FrameKind, owner: Pid) -> Self {
        self.machine.set_fact(self.page, kind, owner);
        self
    }

    /// Removes the owner's mapping.
    fn unmapped(mut self) -> Self {
        let entry = self.machine.entry(self.spaces[0].root, HEAP.0, 1);
        self.machine.put(entry, &0_u64);
        self
    }

    fn map(&self) -> ReverseMap {
        ReverseMap::build(&self.machine.memory, Paging::default(), self.spaces, ReverseMap::BUDGET)
    }

    fn findings(&self, preset: Preset) -> Vec<Finding> {
        let mut findings = Vec::new();
        Policy::new(preset).check(&self.map(), &self.machine.frames, &self.loans, &mut findings);
        findings.retain(|finding| finding.what.is_violation());
        findings
    }

    fn kinds(&self) -> [Vec<What>; 2] {
        [Preset::PageTableCheck, Preset::Strict]
            .map(|preset| self.findings(preset).iter().map(|finding| finding.what).collect())
    }
}

#[test]
fn counting_misses_what_the_frame_table_knows() {
    let misses = [
        // A process can read another's page.
        (Pair::new(RW).share(WINDOW, RO), What::Leak),
        (Pair::new(RO).share(WINDOW, RO), What::Leak),
        // The owner has not touched its new page yet: Linux counts a single entry.
        (Pair::new(RW).share(WINDOW, RW).unmapped(), What::Leak),
        // A window onto a frame that the kernel has since got.
        (Pair::new(RW).unmapped().share(WINDOW, RW).given(FrameKind::PageTable, OWNER), What::Crossing),
        (Pair::new(RW).unmapped().share(WINDOW, RO).given(FrameKind::Keys, Pid::NONE), What::Crossing),
        // A writable program page, and a page that is writable and executable.
        (Pair::new(RX).share(WINDOW, RW).given(FrameKind::Program, Pid::NONE), What::ProgramWritable),
        (Pair::new(RWX), What::WritableExecutable),
    ];
    for (number, (pair, what)) in misses.into_iter().enumerate() {
        assert_eq!(pair.kinds(), [vec![], vec![what]], "number {number}");
    }
}

#[test]
fn both_find_two_writers_and_what_is_mapped_after_it_was_freed() {
    assert_eq!(Pair::new(RW).share(WINDOW, RW).kinds(), [[What::Leak], [What::Leak]]);
    // A frame must not be lent by one process and owned by another, not even read-only.
    let reused = Pair::new(RW).share(WINDOW, RO).lend(LOAN_DRAINING, Pid::new(9, 9));
    assert_eq!(reused.kinds(), [[What::Leak], [What::Leak]]);
    let freed = Pair::new(RW).given(FrameKind::Free, Pid::NONE);
    assert_eq!(freed.kinds(), [[What::Stale], [What::Stale]]);
}

#[test]
fn counting_takes_a_window_into_quarantine_for_a_fault() {
    let dead = Pair::new(RW).unmapped().share(WINDOW, RW).lend(LOAN_DRAINING, OWNER);
    let dead = dead.given(FrameKind::Quarantined, Pid::NONE);
    assert_eq!(dead.kinds(), [vec![What::Stale], vec![]]);
    let [stale] = dead.findings(Preset::PageTableCheck).try_into().unwrap();
    assert_eq!(stale.uncovered().count(), 1, "it has an owner, whom Linux does not know");
}

#[test]
fn neither_minds_a_loan_a_shared_program_or_two_places_in_one_process() {
    for state in [LOAN_ACTIVE, LOAN_DRAINING] {
        for flags in [RO, RW] {
            assert_eq!(Pair::new(RW).share(WINDOW, flags).lend(state, OWNER).kinds(), [[], []]);
        }
    }
    let program = Pair::new(RX).share(WINDOW, RX).given(FrameKind::Program, Pid::NONE);
    assert_eq!(program.kinds(), [[], []]);
    let mut twice = Pair::new(RO);
    twice.machine.map(twice.spaces[0].root, WINDOW, twice.page, RO);
    assert_eq!(twice.kinds(), [[], []]);
    let alias = |finding: &Finding| finding.what == What::Alias && !finding.what.is_violation();
    let all = introspect::matrix::policy::check(&twice.map(), &twice.machine.frames, &[]);
    assert!(all.len() == 1 && alias(&all[0]), "{all:?}");
}

#[test]
fn a_finding_of_either_names_owner_and_other() {
    for preset in Preset::ALL {
        let [leak] = Pair::new(RW).share(WINDOW, RW).findings(preset).try_into().unwrap();
        let parties: Vec<_> = leak.parties.iter().map(|party| (party.pid, party.standing)).collect();
        assert_eq!(parties, [(OWNER, Standing::Owner), (OTHER, Standing::Uncovered)], "{preset:?}");
    }
}

#[test]
fn presets_are_known_by_their_names() {
    for preset in Preset::ALL {
        assert_eq!(preset.name().parse(), Ok(preset));
    }
    let error = "lenient".parse::<Preset>().unwrap_err().to_string();
    assert!(error.contains("lenient") && error.contains("page-table-check"), "{error}");
}

/// Returns the findings about the frames of the kernel's objects, if one of them gets another owner.
fn behind(pair: &Pair, object: Object) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut policy = Policy::default();
    policy.check(&pair.map(), &pair.machine.frames, &[], &mut findings);
    policy.check_objects(&pair.map(), (&pair.machine.frames, 17), [object], &mut findings);
    findings
}

#[test]
fn a_kernel_object_belongs_in_a_frame_of_its_own_kind() {
    let named_at = GuestPhys(0x1238);
    for role in Role::ALL {
        for kind in FrameKind::ALL {
            let pair = Pair::new(RW).unmapped().given(kind, OWNER);
            let object = Object { frame: pair.page, role, pid: OTHER, named_at };
            let found = behind(&pair, object);
            let own = kind.name() == role.name();
            let since_boot = kind == FrameKind::Kernel && matches!(role, Role::PageTable | Role::KernelStack);
            assert_eq!(found.is_empty(), own || since_boot, "{role:?} in {kind:?}");
            for finding in found {
                assert_eq!((finding.what, finding.frame, finding.tick), (What::Backing, pair.page, 17));
                assert_eq!((finding.object, finding.fact.owner()), (Some(object), OWNER));
            }
        }
        let pair = Pair::new(RW);
        let beyond = Object { frame: Frame(1 << 30), role, pid: OTHER, named_at };
        assert_eq!(behind(&pair, beyond).len(), 1, "{role:?} beyond the frame table");
    }
}

#[test]
fn a_page_table_in_a_users_frame_is_found_at_any_level_with_who_can_write_it() {
    for level in 1..=4 {
        let mut pair = Pair::new(RW);
        // The table of this level on the path to the owner's page, and the entry that names it.
        let table = pair.machine.entry(pair.spaces[0].root, HEAP.0, level).frame();
        let named_at = if level == 4 {
            pair.spaces[0].root
        } else {
            pair.machine.entry(pair.spaces[0].root, HEAP.0, level + 1)
        };
        pair.machine.map(pair.spaces[1].root, HEAP, table, RW);
        pair.machine.set_fact(table, FrameKind::User, OTHER);
        let map = pair.map();
        let mut findings = Vec::new();
        let mut policy = Policy::default();
        policy.check(&map, &pair.machine.frames, &[], &mut findings);
        assert_eq!(findings, [], "the new owner may map it");
        let tables = introspect::matrix::policy::objects::tables(&map);
        policy.check_objects(&map, (&pair.machine.frames, 0), tables, &mut findings);
        let [backing] = findings.try_into().unwrap();
        let object = Object { frame: table, role: Role::PageTable, pid: OWNER, named_at };
        assert_eq!((backing.what, backing.object), (What::Backing, Some(object)));
        let parties: Vec<_> = backing.parties.iter().map(|party| (party.pid, party.virt)).collect();
        assert_eq!(parties, [(OTHER, HEAP)]);
    }
}

#[test]
fn objects_without_end_are_told_up_to_a_bound() {
    let mut pair = Pair::new(RW);
    for nth in 1..100 {
        pair.machine.map(pair.spaces[0].root, HEAP.add(nth * 4096), pair.page, RW);
    }
    let object = Object { frame: pair.page, role: Role::PageTable, pid: OTHER, named_at: GuestPhys(8) };
    let mut findings = Vec::new();
    let mut policy = Policy::default();
    policy.check(&pair.map(), &pair.machine.frames, &[], &mut findings);
    let objects = std::iter::repeat_n(object, 20_000);
    policy.check_objects(&pair.map(), (&pair.machine.frames, 0), objects, &mut findings);
    assert_eq!(policy.tally(What::Backing), 20_000);
    findings.retain(|finding| finding.what == What::Backing);
    assert_eq!(findings.len() as u64, Policy::MOST_OF_A_KIND);
    assert_eq!((findings[0].parties.len(), findings[0].omitted), (Finding::MOST_PARTIES, 36));
}
