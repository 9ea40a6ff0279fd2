//! Compares both presets with a model that knows only their tables of rules: random mappings of frames with
//! random entries in the frame table, and random loans. The model keeps lists of the mappings; it walks
//! nothing and sorts nothing.

use std::collections::BTreeSet;

use abi::frame::FrameKind;
use abi::layout::{LOAN_PAGES, PAGE_SIZE, USER_HEAP};
use abi::loan::{LOAN_ACTIVE, Loan};
use abi::{Frame, GuestVirt, Pid};
use introspect::matrix::policy::{Preset, Standing};
use introspect::matrix::space::{pid as pid_of, space_id};
use introspect::matrix::{Policy, What};
use introspect::x86::{Paging, ReverseMap, Space};
use proptest::prelude::*;

use crate::machine::{Machine, RO, RW, RWX, RX};

/// Mapped frames, address spaces, and pages of each that may be mapped.
const FRAMES: usize = 8;
const SPACES: usize = 4;
const PAGES: u64 = 12;

/// No process, for the kernel's address space, and three processes.
const PIDS: [Pid; SPACES] = [Pid::NONE, Pid::new(1, 2), Pid::new(2, 0), Pid::new(5, 1)];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Mapping {
    pid: Pid,
    page: u64,
    frame: usize,
    write: bool,
    execute: bool,
}

#[derive(Clone, Debug)]
struct Lending {
    lender: Pid,
    borrower: Pid,
    source: u64,
    window: u64,
    frames: Vec<usize>,
}

impl Lending {
    fn is_at(&self, mapping: &Mapping) -> bool {
        self.frames.iter().zip(0..).any(|(frame, nth)| {
            *frame == mapping.frame
                && ((self.borrower, self.window + nth) == (mapping.pid, mapping.page)
                    || (self.lender, self.source + nth) == (mapping.pid, mapping.page))
        })
    }
}

#[derive(Clone, Debug)]
struct World {
    /// The kind (some numbers are unknown) and owner of each frame.
    facts: Vec<(u8, Pid)>,
    mappings: Vec<Mapping>,
    loans: Vec<Lending>,
}

fn worlds() -> impl Strategy<Value = World> {
    let pid = || prop::sample::select(&PIDS[..]);
    let mapping = (pid(), 0..PAGES, 0..FRAMES, any::<[bool; 2]>())
        .prop_map(|(pid, page, frame, [write, execute])| Mapping { pid, page, frame, write, execute });
    let loan = (pid(), pid(), 0..PAGES, 0..PAGES, prop::collection::vec(0..FRAMES, 0..=LOAN_PAGES)).prop_map(
        |(lender, borrower, source, window, frames)| Lending { lender, borrower, source, window, frames },
    );
    (
        prop::collection::vec((0..13u8, pid()), FRAMES),
        prop::collection::vec(mapping, 0..24),
        prop::collection::vec(loan, 0..8),
    )
        .prop_map(|(facts, mappings, loans)| {
            // The later of two mappings of one page stays.
            let stays = |at: usize| {
                let place = |mapping: &Mapping| (mapping.pid, mapping.page);
                mappings[at + 1..].iter().all(|later| place(later) != place(&mappings[at]))
            };
            let mappings = (0..mappings.len()).filter(|at| stays(*at)).map(|at| mappings[at]).collect();
            World { facts, mappings, loans }
        })
}

/// A finding: the frame, the kind, and for each mapping in evidence its process, page and standing.
type Found = BTreeSet<(usize, What, BTreeSet<(Pid, u64, Standing)>)>;

impl World {
    fn of(&self, frame: usize) -> Vec<Mapping> {
        self.mappings.iter().filter(|mapping| mapping.frame == frame).copied().collect()
    }

    fn kind(&self, frame: usize) -> Option<FrameKind> {
        FrameKind::from_raw(self.facts[frame].0)
    }

    fn strict(&self) -> Found {
        use FrameKind::{Program, Quarantined, Shared, User};
        let mut found = Found::new();
        for frame in 0..FRAMES {
            let (kind, owner, mappings) = (self.kind(frame), self.facts[frame].1, self.of(frame));
            let is_covered = |mapping: &Mapping| {
                self.loans.iter().filter(|loan| loan.is_at(mapping)).any(|loan| match kind {
                    Some(User) => loan.lender == owner,
                    Some(Quarantined) => owner == Pid::NONE || owner == loan.lender,
                    _ => false,
                })
            };
            let standing = |mapping: &Mapping| match kind {
                Some(User | Shared) if mapping.pid == owner && owner != Pid::NONE => Standing::Owner,
                Some(Program) if !mapping.write => Standing::Covered,
                _ if is_covered(mapping) => Standing::Covered,
                _ => Standing::Uncovered,
            };
            let evidence = |mapping: &Mapping| (mapping.pid, mapping.page, standing(mapping));
            let mut each = |what, is: &dyn Fn(&Mapping) -> bool| {
                for mapping in mappings.iter().filter(|mapping| is(mapping)) {
                    found.insert((frame, what, BTreeSet::from([evidence(mapping)])));
                }
            };
            each(What::WritableExecutable, &|mapping| mapping.write && mapping.execute);
            let is_kernel = kind.is_some_and(FrameKind::is_kernel);
            if is_kernel {
                each(What::Crossing, &|_| true);
            } else if kind == Some(Program) {
                each(What::ProgramWritable, &|mapping| mapping.write);
            }
            for pid in PIDS {
                let same: BTreeSet<_> = mappings.iter().filter(|m| m.pid == pid).map(evidence).collect();
                if same.len() > 1 {
                    found.insert((frame, What::Alias, same));
                }
            }
            if is_kernel || kind == Some(Program) || mappings.is_empty() {
                continue;
            }
            let all: BTreeSet<_> = mappings.iter().map(evidence).collect();
            let uncovered = mappings.iter().any(|mapping| standing(mapping) == Standing::Uncovered);
            let mappers: BTreeSet<_> = mappings.iter().map(|mapping| mapping.pid).collect();
            let owned = matches!(kind, Some(User | Shared)) && owner != Pid::NONE;
            if uncovered && (owned || mappers.len() > 1) {
                found.insert((frame, What::Leak, all));
            } else if !owned && (uncovered || kind != Some(Quarantined)) {
                found.insert((frame, What::Stale, all));
            }
        }
        found
    }

    fn page_table_check(&self) -> Found {
        use FrameKind::{Free, Program, Quarantined, Shared, Unused, User};
        let mut found = Found::new();
        for frame in 0..FRAMES {
            let (kind, owner, mappings) = (self.kind(frame), self.facts[frame].1, self.of(frame));
            let on_loan = self.loans.iter().any(|loan| loan.lender == owner && loan.frames.contains(&frame));
            let (mut files, mut anonymous, mut writable) = (0, 0, 0);
            for mapping in &mappings {
                if self.loans.iter().any(|loan| loan.is_at(mapping)) || on_loan && mapping.pid == owner {
                    files += 1;
                } else {
                    anonymous += 1;
                    writable += usize::from(mapping.write);
                }
            }
            let what = match kind {
                Some(Free | Unused | Quarantined) if files + anonymous > 0 => What::Stale,
                Some(Program) => continue,
                Some(kind) if kind.is_kernel() => continue,
                Some(Free | Unused | Quarantined) => continue,
                _ if files > 0 && anonymous > 0 => What::Leak,
                _ if writable > 1 => What::Leak,
                _ => continue,
            };
            let is_owner = |pid| matches!(kind, Some(User | Shared)) && pid == owner && owner != Pid::NONE;
            let standing = |pid| if is_owner(pid) { Standing::Owner } else { Standing::Uncovered };
            let all = mappings.iter().map(|m| (m.pid, m.page, standing(m.pid))).collect();
            found.insert((frame, what, all));
        }
        found
    }

    fn check(&self, preset: Preset) -> Found {
        let mut machine = Machine::new(64);
        let frames: Vec<_> = (0..FRAMES).map(|_| machine.frame(FrameKind::User, Pid::NONE)).collect();
        let spaces = PIDS.map(|pid| Space { id: space_id(pid), root: machine.root(pid) });
        let virt = |page: u64| GuestVirt(USER_HEAP + page * PAGE_SIZE);
        for mapping in &self.mappings {
            let flags = match (mapping.write, mapping.execute) {
                (false, false) => RO,
                (false, true) => RX,
                (true, false) => RW,
                (true, true) => RWX,
            };
            let space = spaces.iter().find(|space| pid_of(space.id) == mapping.pid).unwrap();
            machine.map(space.root, virt(mapping.page), frames[mapping.frame], flags);
        }
        for (frame, (kind, owner)) in frames.iter().zip(&self.facts) {
            let entry = &mut machine.frames[frame.0 as usize];
            (entry.kind, entry.owner) = (*kind, *owner);
        }
        let loans: Vec<_> = self
            .loans
            .iter()
            .zip(1..)
            .map(|(lending, id)| {
                let mut loan = Loan {
                    state: LOAN_ACTIVE,
                    id,
                    lender: lending.lender,
                    borrower: lending.borrower,
                    source: virt(lending.source),
                    window: virt(lending.window),
                    pages: lending.frames.len() as u32,
                    ..Loan::default()
                };
                for (to, from) in loan.frames.iter_mut().zip(&lending.frames) {
                    *to = frames[*from].0 as u32;
                }
                loan
            })
            .collect();
        let map = ReverseMap::build(&machine.memory, Paging::default(), spaces, ReverseMap::BUDGET);
        let mut findings = Vec::new();
        let mut policy = Policy::new(preset);
        // Earlier findings must not matter.
        policy.check(&map, &[], &loans, &mut findings);
        policy.check(&map, &machine.frames, &loans, &mut findings);
        let frame = |frame: Frame| frames.iter().position(|other| *other == frame).unwrap();
        let page = |virt: GuestVirt| (virt.0 - USER_HEAP) / PAGE_SIZE;
        let mut found = Found::new();
        for finding in &findings {
            let parties = finding.parties.iter().map(|p| (p.pid, page(p.virt), p.standing)).collect();
            assert!(found.insert((frame(finding.frame), finding.what, parties)), "twice: {finding:?}");
        }
        for what in What::ALL {
            let listed = findings.iter().filter(|finding| finding.what == what).count();
            assert_eq!(policy.tally(what), listed as u64, "{what:?}");
        }
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn strict_finds_what_its_table_forbids(world in worlds()) {
        prop_assert_eq!(world.check(Preset::Strict), world.strict());
    }

    #[test]
    fn page_table_check_finds_what_linux_would_stop_at(world in worlds()) {
        prop_assert_eq!(world.check(Preset::PageTableCheck), world.page_table_check());
    }
}
