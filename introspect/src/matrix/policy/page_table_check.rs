//! The preset `page-table-check`: the rules of Linux's `mm/page_table_check.c`, as `Documentation/mm/page_table_check.rst`
//! has them. Linux counts, for each page, its anonymous and its file mappings in page tables that ring 3 can use:
//!
//! | Mapped as | New mapping | Rights | Linux |
//! |---|---|---|---|
//! | anonymous | anonymous | read | allows it |
//! | anonymous | anonymous | read and write | stops |
//! | anonymous | file | any | stops |
//! | file | anonymous | any | stops |
//! | file | file | any | allows it |
//!
//! and a page that is freed or allocated must have none at all. It does not know whose a page is: it counts.
//!
//! What is what here: *free* is a frame that is free, unused or in quarantine. *File* are the frames of programs and of
//! the kernel (for Linux a page that is not anonymous is a file's), and memory that processes share on purpose, which
//! in Linux would be a file of shared memory: entries at a loan's addresses, and all of the owner's while it has the
//! frame on loan. All other entries are *anonymous*.
//!
//! Linux looks at each entry as it is set and sees an order; an audit sees a state. Two anonymous entries, one of which
//! is writable, stop Linux in one order and not in the other. Only what stops it in either order is found: two that are
//! writable.

use abi::frame::FrameKind;

use super::covers::Cover;
use super::finding::{Fact, Party, Standing, What};
use super::report::Report;

/// Pronounces on one frame. `covers` are the loans of this frame.
pub(super) fn judge(report: &mut Report<'_>, parties: &mut [Party], covers: &[Cover]) {
    let Some(what) = verdict(report.fact, parties, covers) else { return };
    // To have a file's page is nobody's right or wrong to Linux: who is not the owner, by the frame table, is the other.
    for party in parties.iter_mut().filter(|party| party.standing == Standing::Covered) {
        party.standing = Standing::Uncovered;
    }
    report.all(what, parties);
}

fn verdict(fact: Fact, parties: &[Party], covers: &[Cover]) -> Option<What> {
    // What the frame table does not reach Linux would have no counts for.
    let entry = fact.0?;
    match fact.kind() {
        Some(FrameKind::Free | FrameKind::Unused | FrameKind::Quarantined) => return Some(What::Stale),
        Some(FrameKind::Program) => return None,
        Some(kind) if kind.is_kernel() => return None,
        _ => {}
    }
    let on_loan = covers.iter().any(|cover| cover.lender == entry.owner);
    let is_file = |party: &&Party| party.loan.is_some() || on_loan && party.pid == entry.owner;
    let files = parties.iter().filter(is_file).count();
    let anonymous = parties.len() - files;
    let writable = parties.iter().filter(|party| !is_file(party) && party.rights.write).count();
    (files > 0 && anonymous > 0 || writable > 1).then_some(What::Leak)
}
