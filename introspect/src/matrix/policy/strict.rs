//! The preset `strict`: only the processes that the guest's own tables name may map a frame; no other may,
//! not even to read.
//!
//! A mapping that ring 3 can use is in order if the frame table and the loan table together say so, by the
//! kind that the frame table gives the frame:
//!
//! | Kind | In order |
//! |---|---|
//! | user | the owner's mappings; the window of an active or draining loan by the owner |
//! | shared | the owner's mappings; a page shared with the kernel cannot be lent |
//! | quarantined | both ends of a loan of it, at the loan's addresses: quarantine exists for these |
//! | program | read-only mappings of any process |
//! | kernel, page table, descriptor, kernel stack, buffer, keys | none |
//! | free, unused, unknown | none |
//!
//! So a window that outlives its loan is in order while its frame waits in quarantine, and becomes a leak
//! when the frame gets a new owner: the lender of that loan no longer owns it.

use abi::Pid;
use abi::frame::FrameKind;

use super::finding::{Fact, Party, Standing, What};
use super::report::Report;
use crate::matrix::space::pid;
use crate::x86::reverse::{Mapped, ReverseMap};

/// Returns whether the mappings of a frame are obviously in order: a quick test that most frames pass, with
/// one mapping by the owner, or a program's page that no process can write. The others get the full check.
#[inline]
pub(super) fn is_plain(map: &ReverseMap, group: &[Mapped], fact: Fact) -> bool {
    match (fact.kind(), group) {
        (Some(FrameKind::User | FrameKind::Shared), [one]) => {
            let rights = one.rights();
            let owner = fact.owner();
            owner != Pid::NONE && pid(map.id(*one)) == owner && !(rights.write && rights.execute)
        }
        (Some(FrameKind::Program), all) => {
            let mut last = None;
            all.iter().all(|mapped| {
                let pid = pid(map.id(*mapped));
                !mapped.rights().write && last.replace(pid) != Some(pid)
            })
        }
        _ => false,
    }
}

/// Checks one frame. `parties` are all its mappings, in the order of address spaces and addresses.
pub(super) fn judge(report: &mut Report<'_>, parties: &[Party]) {
    let sharing = match report.fact.kind() {
        Some(kind) if kind.is_kernel() => {
            report.each(What::Crossing, parties, |_| true);
            None
        }
        Some(FrameKind::Program) => {
            report.each(What::ProgramWritable, parties, |party| party.rights.write);
            None
        }
        _ => sharing(report.fact, parties),
    };
    if let Some(what) = sharing {
        report.all(what, parties);
    }
    report.each(What::WritableExecutable, parties, |party| party.rights.write && party.rights.execute);
    for same in parties.chunk_by(|a, b| a.pid == b.pid).filter(|same| same.len() > 1) {
        report.find(What::Alias, same);
    }
}

/// Returns whether a frame that is neither the kernel's nor a program's has a mapping that is not in order.
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
