//! The sharing policy: which mappings of a frame are in order, by the guest's own rules, and what it is called when one
//! is not.
//!
//! A mapping that ring 3 can use is in order if the frame table and the loan table together say so, by the kind that
//! the frame table gives the frame:
//!
//! | Kind | In order |
//! |---|---|
//! | user | the owner's mappings; the window of a loan, active or draining, that the owner made of this frame |
//! | shared | the owner's mappings; what a process shares with the kernel it can lend to nobody |
//! | quarantined | both ends of a loan of this frame, at the loan's addresses: dead windows are what quarantine is for |
//! | program | read-only mappings, by anyone |
//! | kernel, page table, descriptor, kernel stack, buffer, keys | none |
//! | free, unused, unknown | none |
//!
//! So a window that outlives its loan is in order while its frame waits in quarantine, and becomes a leak at the moment
//! when the frame is given to somebody else: the lender of that loan is not the owner any more.

use abi::frame::{FrameEntry, FrameKind};
use abi::layout::PAGE_SIZE;
use abi::loan::Loan;
use abi::{Frame, GuestPhys, GuestVirt, Pid};

use crate::paging::Rights;
use crate::reverse::{Mapped, ReverseMap};

/// What is wrong, or worth knowing, about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum What {
    /// One process's memory is within reach of another: a frame with an owner is mapped by somebody without its
    /// owner's loan, or a frame without owner is mapped by several and a loan does not cover it.
    Leak,
    /// A frame that belongs to nobody is still mapped: no loan covers that, or the frame is not even quarantined.
    Stale,
    /// Ring 3 can reach a frame of the kernel.
    Crossing,
    /// A program's frame can be written by a process.
    ProgramWritable,
    /// A page is writable and executable at once.
    WritableExecutable,
    /// One process maps a frame at two addresses. Not wrong in itself.
    Alias,
}

impl What {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Leak,
        Self::Stale,
        Self::Crossing,
        Self::ProgramWritable,
        Self::WritableExecutable,
        Self::Alias,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::Stale => "stale",
            Self::Crossing => "crossing",
            Self::ProgramWritable => "program-writable",
            Self::WritableExecutable => "writable-executable",
            Self::Alias => "alias",
        }
    }

    /// Whether it breaks a rule; otherwise it is for information.
    pub const fn is_violation(self) -> bool {
        !matches!(self, Self::Alias)
    }
}

/// By what right somebody maps a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// The frame is its own.
    Owner,
    /// None that the tables know of.
    Uncovered,
    /// A loan covers it, or the frame is a program's and the mapping read-only.
    Covered,
}

/// One mapping, as evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Party {
    /// Who maps the frame.
    pub pid: Pid,
    /// At which page.
    pub virt: GuestVirt,
    /// With which rights.
    pub rights: Rights,
    /// Where the leaf entry is.
    pub entry: GuestPhys,
    /// By what right.
    pub standing: Standing,
    /// The serial number of a loan that has this frame at this place. It covers the mapping only if `standing` says so:
    /// the loan of a dead lender explains a leak and does not excuse it.
    pub loan: Option<u32>,
}

/// The frame table's word on a frame: its entry, or `None` for a frame that the table does not reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fact(pub Option<FrameEntry>);

impl Fact {
    /// What the frame is used for; `None` if the table does not say, or says nonsense.
    pub fn kind(self) -> Option<FrameKind> {
        self.0.and_then(|entry| FrameKind::from_raw(entry.kind))
    }

    /// To whom it was given.
    pub fn owner(self) -> Pid {
        self.0.map_or(Pid::NONE, |entry| entry.owner)
    }
}

/// Something found about one frame, with its evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is.
    pub what: What,
    /// The frame.
    pub frame: Frame,
    /// The frame table's word on it.
    pub fact: Fact,
    /// For [`What::Leak`] and [`What::Stale`] all mappings of the frame: the owner's, then the uncovered, then the
    /// covered ones. For [`What::Alias`] all of the process's. Otherwise the one mapping concerned.
    pub parties: Vec<Party>,
    /// Mappings left out of `parties` because there were more than [`Finding::MOST_PARTIES`].
    pub omitted: usize,
}

impl Finding {
    /// Most mappings in one finding.
    pub const MOST_PARTIES: usize = 64;

    /// The mappings without any right. In a leak each makes a pair with the owner, whether or not that one has the frame
    /// mapped at this moment.
    pub fn uncovered(&self) -> impl Iterator<Item = &Party> {
        self.parties.iter().filter(|party| party.standing == Standing::Uncovered)
    }

    fn new(what: What, frame: Frame, fact: Fact, parties: &[Party]) -> Self {
        let kept = parties.len().min(Self::MOST_PARTIES);
        Self { what, frame, fact, parties: parties[..kept].to_vec(), omitted: parties.len() - kept }
    }
}

/// One lent page: who may have this frame where.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Cover {
    frame: Frame,
    loan: u32,
    lender: Pid,
    source: GuestVirt,
    borrower: Pid,
    window: GuestVirt,
}

/// The policy, with the memory that it works in.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    covers: Vec<Cover>,
    parties: Vec<Party>,
    tallies: Tallies,
}

/// How often each [`What`] was found, by its number.
type Tallies = [u64; What::ALL.len()];

impl Policy {
    /// Most findings of one kind that a check lists. A guest that has lost its mind altogether has millions, and the
    /// first few tell as much.
    pub const MOST_OF_A_KIND: u64 = 1 << 14;

    /// Judges every mapping of `map` by the frame table (from frame 0 on) and the active and draining loans. `findings`
    /// is emptied first. The findings come in rising order of frame, for each frame in the order of [`What`], and for
    /// each of those in the order of address spaces and addresses.
    pub fn check(
        &mut self,
        map: &ReverseMap,
        frames: &[FrameEntry],
        loans: &[Loan],
        findings: &mut Vec<Finding>,
    ) {
        findings.clear();
        self.tallies = Tallies::default();
        self.covers.clear();
        self.covers.extend(loans.iter().flat_map(covers));
        self.covers.sort_unstable();
        let mut covers = self.covers.as_slice();
        for group in map.groups() {
            let Some(frame) = group.first().map(|mapped| mapped.frame()) else { continue };
            // Both lists rise by frame: go through them side by side.
            covers = &covers[covers.partition_point(|cover| cover.frame < frame)..];
            let mine = &covers[..covers.partition_point(|cover| cover.frame == frame)];
            let fact = Fact(usize::try_from(frame.0).ok().and_then(|at| frames.get(at)).copied());
            self.parties.clear();
            self.parties.extend(group.iter().map(|mapped| party(map.pid(*mapped), *mapped, fact, mine)));
            Judge { frame, fact, findings, tallies: &mut self.tallies }.judge(&self.parties);
        }
    }

    /// How often the last check found this, the ones included that it did not list.
    pub const fn tally(&self, what: What) -> u64 {
        self.tallies[what as usize]
    }
}

/// The findings about these mappings, in a vector of their own. See [`Policy::check`].
#[must_use]
pub fn check(map: &ReverseMap, frames: &[FrameEntry], loans: &[Loan]) -> Vec<Finding> {
    let mut findings = Vec::new();
    Policy::default().check(map, frames, loans, &mut findings);
    findings
}

fn covers(loan: &Loan) -> impl Iterator<Item = Cover> {
    let pages = loan.frames.into_iter().take(loan.pages as usize).zip(0..);
    let Loan { id, lender, borrower, source, window, .. } = *loan;
    pages.map(move |(frame, nth)| Cover {
        frame: Frame(u64::from(frame)),
        loan: id,
        lender,
        source: source.page().add(nth * PAGE_SIZE),
        borrower,
        window: window.page().add(nth * PAGE_SIZE),
    })
}

/// Finds out by what right `pid` maps a frame. `covers` are those of this frame.
fn party(pid: Pid, mapped: Mapped, fact: Fact, covers: &[Cover]) -> Party {
    let (virt, rights, entry) = (mapped.virt(), mapped.rights(), mapped.entry());
    let (kind, owner) = (fact.kind(), fact.owner());
    let mut standing = match kind {
        Some(FrameKind::User | FrameKind::Shared) if owner == pid && pid != Pid::NONE => Standing::Owner,
        Some(FrameKind::Program) if !rights.write => Standing::Covered,
        _ => Standing::Uncovered,
    };
    let mut loan = None;
    for cover in covers {
        let borrows = cover.borrower == pid && cover.window == virt;
        let lends = cover.lender == pid && cover.source == virt;
        if !borrows && !lends {
            continue;
        }
        let covered = match kind {
            Some(FrameKind::User) => cover.lender == owner,
            Some(FrameKind::Quarantined | FrameKind::Free | FrameKind::Unused) => {
                owner == Pid::NONE || owner == cover.lender
            }
            _ => false,
        };
        if covered && standing == Standing::Uncovered {
            standing = Standing::Covered;
            loan = Some(cover.loan);
        }
        loan = loan.or(Some(cover.loan));
    }
    Party { pid, virt, rights, entry, standing, loan }
}

/// Pronounces on one frame.
struct Judge<'a> {
    frame: Frame,
    fact: Fact,
    findings: &'a mut Vec<Finding>,
    tallies: &'a mut Tallies,
}

impl Judge<'_> {
    /// `parties` are all mappings of the frame, in the order of address spaces and addresses.
    fn judge(&mut self, parties: &[Party]) {
        match self.fact.kind() {
            Some(kind) if kind.is_kernel() => self.each(What::Crossing, parties, |_| true),
            Some(FrameKind::Program) => {
                self.each(What::ProgramWritable, parties, |party| party.rights.write);
            }
            _ => {
                if let Some(what) = sharing(self.fact, parties) {
                    let mut ordered = parties.to_vec();
                    ordered.sort_by_key(|party| party.standing);
                    self.find(what, &ordered);
                }
            }
        }
        self.each(What::WritableExecutable, parties, |party| party.rights.write && party.rights.execute);
        for same in parties.chunk_by(|a, b| a.pid == b.pid).filter(|same| same.len() > 1) {
            self.find(What::Alias, same);
        }
    }

    /// A finding for each mapping that is so.
    fn each(&mut self, what: What, parties: &[Party], is: impl Fn(&Party) -> bool) {
        for party in parties.iter().filter(|party| is(party)) {
            self.find(what, std::slice::from_ref(party));
        }
    }

    fn find(&mut self, what: What, parties: &[Party]) {
        let tally = &mut self.tallies[what as usize];
        *tally += 1;
        if *tally <= Policy::MOST_OF_A_KIND {
            self.findings.push(Finding::new(what, self.frame, self.fact, parties));
        }
    }
}

/// Whether a frame that is neither the kernel's nor a program's is mapped as it should not be.
fn sharing(fact: Fact, parties: &[Party]) -> Option<What> {
    let uncovered = parties.iter().any(|party| party.standing == Standing::Uncovered);
    let several = parties.windows(2).any(|pair| pair[0].pid != pair[1].pid);
    match fact.kind() {
        Some(FrameKind::User | FrameKind::Shared) if fact.owner() != Pid::NONE => {
            uncovered.then_some(What::Leak)
        }
        _ if uncovered && several => Some(What::Leak),
        Some(FrameKind::Quarantined) => uncovered.then_some(What::Stale),
        _ => Some(What::Stale),
    }
}
