//! The mappings that a loan covers, and the right by which a process has a mapping.

use abi::frame::FrameKind;
use abi::layout::PAGE_SIZE;
use abi::loan::Loan;
use abi::{Frame, GuestVirt, Pid};

use super::finding::{Fact, Party, Standing};
use crate::x86::reverse::Mapped;

/// One lent page: the process that may map the frame, and where.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Cover {
    pub(super) frame: Frame,
    loan: u32,
    pub(super) lender: Pid,
    source: GuestVirt,
    borrower: Pid,
    window: GuestVirt,
}

/// Returns the pages of a loan. A damaged loan has no more than its room.
pub(super) fn covers(loan: &Loan) -> impl Iterator<Item = Cover> {
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

/// Determines the right by which `pid` maps a frame. `covers` are those of this frame.
pub(super) fn party(pid: Pid, mapped: Mapped, fact: Fact, covers: &[Cover]) -> Party {
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
            Some(FrameKind::Quarantined) => owner == Pid::NONE || owner == cover.lender,
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
