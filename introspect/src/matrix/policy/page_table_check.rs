//! The preset `page-table-check`: the rules of Linux's `mm/page_table_check.c`, as documented in
//! `Documentation/mm/page_table_check.rst`. For each page, Linux counts its anonymous and its file mappings
//! in page tables that ring 3 can use:
//!
//! | Mapped as | New mapping | Rights | Linux |
//! |---|---|---|---|
//! | anonymous | anonymous | read | allows it |
//! | anonymous | anonymous | read and write | stops |
//! | anonymous | file | any | stops |
//! | file | anonymous | any | stops |
//! | file | file | any | allows it |
//!
//! and a page that is freed or allocated must have none. Linux does not know a page's owner: it only counts.
//!
//! The terms here: *free* is a frame that is free, unused or in quarantine. *File* are the frames of programs
//! and of the kernel (in Linux a page that is not anonymous belongs to a file), and memory that processes
//! share on purpose, in Linux a file of shared memory: entries at a loan's addresses, and all entries of the
//! owner while the frame is on loan. All other entries are *anonymous*.
//!
//! Linux checks each entry as it is set, in an order; an audit sees a state. Two anonymous entries, one of
//! them writable, stop Linux in one order but not in the other. The audit reports only what stops Linux in
//! either order: two writable entries.

use abi::frame::FrameKind;

use super::covers::Cover;
use super::finding::{Fact, Party, Standing, What};
use super::report::Report;

/// Checks one frame. `covers` are the loans of this frame.
pub(super) fn judge(report: &mut Report<'_>, parties: &mut [Party], covers: &[Cover]) {
    let Some(what) = verdict(report.fact, parties, covers) else { return };
    // Linux knows no owner of a file's page: any process but the owner, by the frame table, counts as the
    // other.
    for party in parties.iter_mut().filter(|party| party.standing == Standing::Covered) {
        party.standing = Standing::Uncovered;
    }
    report.all(what, parties);
}

fn verdict(fact: Fact, parties: &[Party], covers: &[Cover]) -> Option<What> {
    // Linux would have no counts for a frame that the frame table does not reach.
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
