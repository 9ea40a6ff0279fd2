//! The policy on random worlds: a lawful world has no violation, and one broken law yields exactly that
//! violation.

use abi::frame::FrameKind;
use abi::layout::{LOAN_PAGES, PAGE_SIZE, USER_HEAP, USER_TEXT, USER_WINDOWS};
use abi::loan::{LOAN_ACTIVE, LOAN_DRAINING, Loan};
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::space::{pid as pid_of, space_id};
use introspect::matrix::{Finding, Policy, What};
use introspect::x86::{Paging, ReverseMap, Space};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::machine::{Machine, RO, RW, RWX, RX};

/// The parameters of a world.
#[derive(Clone, Debug)]
struct Plan {
    /// The pages that each process owns, and whether it maps them.
    owned: Vec<Vec<bool>>,
    loans: Vec<LoanPlan>,
    /// The processes that map each program page.
    programs: Vec<u8>,
    /// Unmapped frames in quarantine or on the free list.
    idle: Vec<bool>,
}

#[derive(Clone, Debug)]
struct LoanPlan {
    lender: Index,
    borrower: Index,
    first: Index,
    pages: usize,
    draining: bool,
    /// The lender has died: its frames are in quarantine.
    dead: bool,
    /// The frame table no longer names the dead lender.
    forgotten: bool,
    read_only: bool,
}

struct World {
    machine: Machine,
    spaces: Vec<Space>,
    loans: Vec<Loan>,
    /// Frames with a living owner.
    owned: Vec<(Frame, Pid)>,
    /// Windows into quarantine: the frame, the borrower, and the window's entry.
    dead_windows: Vec<(Frame, Pid, GuestPhys)>,
    /// Windows of living lenders: index of the loan, number of the page.
    live_windows: Vec<(usize, usize)>,
    programs: Vec<Frame>,
    idle: Vec<Frame>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let index = any::<Index>;
    let loan = (index(), index(), index(), 1..=LOAN_PAGES, any::<[bool; 4]>()).prop_map(
        |(lender, borrower, first, pages, [draining, dead, forgotten, read_only])| LoanPlan {
            lender,
            borrower,
            first,
            pages,
            draining,
            dead,
            forgotten,
            read_only,
        },
    );
    (
        prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.8), 1..6), 2..6),
        prop::collection::vec(loan, 0..12),
        prop::collection::vec(any::<u8>(), 1..4),
        prop::collection::vec(any::<bool>(), 1..4),
    )
        .prop_map(|(owned, loans, programs, idle)| Plan { owned, loans, programs, idle })
}

impl World {
    fn new(plan: &Plan) -> Self {
        let mut machine = Machine::new(256);
        let pid = |slot| Pid::new(slot + 1, slot as u16 * 3);
        let spaces: Vec<_> = (0..plan.owned.len())
            .map(|slot| Space { id: space_id(pid(slot)), root: machine.root(pid(slot)) })
            .collect();
        let mut world = Self {
            machine,
            spaces,
            loans: Vec::new(),
            owned: Vec::new(),
            dead_windows: Vec::new(),
            live_windows: Vec::new(),
            programs: Vec::new(),
            idle: Vec::new(),
        };
        for (slot, pages) in plan.owned.iter().enumerate() {
            for (nth, &mapped) in (0..).zip(pages) {
                let frame = world.machine.frame(FrameKind::User, pid(slot));
                world.owned.push((frame, pid(slot)));
                if mapped {
                    world.map(slot, USER_HEAP + nth * PAGE_SIZE, frame, RW);
                }
            }
        }
        for (nth, &mappers) in (0..).zip(&plan.programs) {
            let frame = world.machine.frame(FrameKind::Program, Pid::NONE);
            world.programs.push(frame);
            for slot in (0..world.spaces.len()).filter(|slot| mappers >> slot & 1 == 1) {
                let flags = if nth == 0 { RX } else { RO };
                world.map(slot, USER_TEXT + nth * PAGE_SIZE, frame, flags);
            }
        }
        for &quarantined in &plan.idle {
            let kind = if quarantined { FrameKind::Quarantined } else { FrameKind::Free };
            let frame = world.machine.frame(kind, Pid::NONE);
            world.idle.push(frame);
        }
        for (serial, loan) in plan.loans.iter().enumerate() {
            world.lend(plan, serial, loan);
        }
        world
    }

    /// Adds a loan, in a window slot of its own; its lender is a living process, or one that has died since.
    fn lend(&mut self, plan: &Plan, serial: usize, loan: &LoanPlan) {
        let lender = loan.lender.index(self.spaces.len());
        let others = self.spaces.len() - 1;
        let borrower = (lender + 1 + loan.borrower.index(others)) % self.spaces.len();
        let dead = Pid::new(100 + serial, 1);
        let lender_pid = if loan.dead { dead } else { pid_of(self.spaces[lender].id) };
        let first = loan.first.index(plan.owned[lender].len());
        let pages = if loan.dead { loan.pages } else { loan.pages.min(plan.owned[lender].len() - first) };
        let mut entry = Loan {
            state: if loan.draining { LOAN_DRAINING } else { LOAN_ACTIVE },
            id: serial as u32 + 1,
            lender: lender_pid,
            borrower: pid_of(self.spaces[borrower].id),
            window: GuestVirt(USER_WINDOWS + (serial * LOAN_PAGES) as u64 * PAGE_SIZE),
            source: GuestVirt(USER_HEAP + first as u64 * PAGE_SIZE),
            pages: pages as u32,
            ..Loan::default()
        };
        for nth in 0..pages {
            let frame = if loan.dead {
                let owner = if loan.forgotten { Pid::NONE } else { dead };
                self.machine.frame(FrameKind::Quarantined, owner)
            } else {
                let mut mine = self.owned.iter().filter(|(_, owner)| *owner == lender_pid);
                mine.nth(first + nth).unwrap().0
            };
            let virt = entry.window.0 + nth as u64 * PAGE_SIZE;
            let leaf = self.map(borrower, virt, frame, if loan.read_only { RO } else { RW });
            entry.frames[nth] = frame.0 as u32;
            if loan.dead {
                self.dead_windows.push((frame, entry.borrower, leaf));
            } else {
                self.live_windows.push((self.loans.len(), nth));
            }
        }
        self.loans.push(entry);
    }

    fn map(&mut self, slot: usize, virt: u64, frame: Frame, flags: u64) -> GuestPhys {
        self.machine.map(self.spaces[slot].root, GuestVirt(virt), frame, flags)
    }

    fn violations(&self) -> Vec<Finding> {
        let spaces = self.spaces.iter().copied();
        let map = ReverseMap::build(&self.machine.memory, Paging::default(), spaces, ReverseMap::BUDGET);
        assert!(map.is_complete() && map.troubles().is_empty());
        let mut findings = Vec::new();
        Policy::default().check(&map, &self.machine.frames, &self.loans, &mut findings);
        assert!(findings.is_sorted_by_key(|finding| (finding.frame, finding.what)));
        findings.retain(|finding| finding.what.is_violation());
        findings
    }

    /// Returns an address that no process maps.
    const ELSEWHERE: u64 = USER_HEAP + (1 << 20);

    /// Breaks law number `law` somewhere. Returns the expected finding, its frame and the entry concerned;
    /// `None` if this world has no place where that law can be broken.
    fn break_law(&mut self, law: usize, pick: Index, other: Index) -> Option<(What, Frame, Pid, GuestPhys)> {
        let slot = other.index(self.spaces.len());
        let pid = pid_of(self.spaces[slot].id);
        let of = |len: usize| (len > 0).then(|| pick.index(len));
        Some(match law {
            // A process maps another's page.
            0 => {
                let (frame, owner) = self.owned[of(self.owned.len())?];
                let slot = if owner == pid { (slot + 1) % self.spaces.len() } else { slot };
                let entry = self.map(slot, Self::ELSEWHERE, frame, RO);
                (What::Leak, frame, pid_of(self.spaces[slot].id), entry)
            }
            // A process maps a page without owner.
            1 => {
                let frame = self.idle[of(self.idle.len())?];
                (What::Stale, frame, pid, self.map(slot, Self::ELSEWHERE, frame, RW))
            }
            // A process maps a page table, its own.
            2 => {
                let frame = self.spaces[of(self.spaces.len())?].root.frame();
                (What::Crossing, frame, pid, self.map(slot, Self::ELSEWHERE, frame, RO))
            }
            // A process can write a program.
            3 => {
                let frame = self.programs[of(self.programs.len())?];
                (What::ProgramWritable, frame, pid, self.map(slot, Self::ELSEWHERE, frame, RW))
            }
            // A process can execute a writable page.
            4 => {
                let (frame, owner) = self.owned[of(self.owned.len())?];
                let slot = self.spaces.iter().position(|space| pid_of(space.id) == owner).unwrap();
                (What::WritableExecutable, frame, owner, self.map(slot, Self::ELSEWHERE, frame, RWX))
            }
            // The pager takes a frame out of quarantine too early, for a process or for the kernel.
            5 => {
                let (frame, borrower, entry) = self.dead_windows[of(self.dead_windows.len())?];
                let heir = (slot + usize::from(pid == borrower)) % self.spaces.len();
                self.machine.set_fact(frame, FrameKind::User, pid_of(self.spaces[heir].id));
                (What::Leak, frame, borrower, entry)
            }
            6 => {
                let (frame, borrower, entry) = self.dead_windows[of(self.dead_windows.len())?];
                let kinds = [FrameKind::PageTable, FrameKind::Descriptor, FrameKind::Buffer, FrameKind::Keys];
                self.machine.set_fact(frame, kinds[other.index(4)], pid);
                (What::Crossing, frame, borrower, entry)
            }
            // A page is removed from a loan whose window still exists.
            _ => {
                let (loan, page) = self.live_windows[of(self.live_windows.len())?];
                let Loan { borrower, window, .. } = self.loans[loan];
                let frame = Frame(u64::from(self.loans[loan].frames[page]));
                self.loans[loan].frames[page] = 0;
                let root = self.spaces.iter().find(|space| pid_of(space.id) == borrower)?.root;
                let entry = self.machine.entry(root, window.add(page as u64 * PAGE_SIZE).0, 1);
                (What::Leak, frame, borrower, entry)
            }
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_lawful_world_is_clean_and_one_broken_law_is_found(
        plan in plans(),
        law in 0..8usize,
        pick: Index,
        other: Index,
    ) {
        let mut world = World::new(&plan);
        prop_assert_eq!(world.violations(), []);
        let Some((what, frame, pid, entry)) = world.break_law(law, pick, other) else { return Ok(()) };
        let found = world.violations();
        prop_assert_eq!(found.len(), 1, "{:?}", found);
        prop_assert_eq!((found[0].what, found[0].frame), (what, frame));
        let guilty: Vec<_> = match what {
            What::Leak | What::Stale => found[0].uncovered().map(|party| (party.pid, party.entry)).collect(),
            _ => found[0].parties.iter().map(|party| (party.pid, party.entry)).collect(),
        };
        prop_assert_eq!(guilty, [(pid, entry)]);
        if let (What::Leak, Some(kind)) = (what, found[0].fact.kind()) {
            prop_assert_eq!(kind, FrameKind::User);
            prop_assert!(found[0].fact.owner() != pid);
        }
    }
}
