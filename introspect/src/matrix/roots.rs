//! Compares the roots that a scan found with the guest's process table and frame table: a root in no table is
//! a hidden address space.
//!
//! A root whose frame is free, quarantined or unused is [`Standing::Residue`]: the tables of a dead process,
//! until the frame is zeroed for its next owner. A guest that can write its frame table can disguise a root
//! as residue. Its earlier records and CR3 then contradict it; the caller has both.

use std::collections::BTreeMap;

use abi::Pid;
use abi::frame::FrameKind;

use super::guest::Guest;
use super::space::pid;
use crate::x86::paging::bits;
use crate::x86::roots::Root;

/// What a root is, by the guest's own tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// The root of this process, or of the kernel with [`Pid::NONE`]. If several processes share it, the
    /// first in the table.
    Named(Pid),
    /// No process's root, in a frame that is free, quarantined or unused by the frame table: the remains of a
    /// dead process.
    Residue,
    /// No process's root, in a frame that is in use: a hidden address space.
    Hidden,
}

/// A root that was found, compared with the guest's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The root.
    pub root: Root,
    /// The kind of its frame by the frame table; `None` if the table does not reach it, or has an unknown
    /// kind.
    pub kind: Option<FrameKind>,
    /// What it is.
    pub standing: Standing,
}

/// Compares the roots that were found with the guest's process table and frame table. All must be read at the
/// same moment.
pub fn judge<'a>(guest: &'a Guest, roots: &'a [Root]) -> impl Iterator<Item = Judged> + 'a {
    let mut named = BTreeMap::new();
    for space in guest.spaces() {
        named.entry(space.root.0 & bits::ADDRESS).or_insert(pid(space.id));
    }
    roots.iter().map(move |&root| {
        let kind = guest.fact(root.at.frame()).and_then(|fact| FrameKind::from_raw(fact.kind));
        let standing = match (named.get(&root.at.0), kind) {
            (Some(&pid), _) => Standing::Named(pid),
            (None, Some(FrameKind::Free | FrameKind::Quarantined | FrameKind::Unused)) => Standing::Residue,
            (None, _) => Standing::Hidden,
        };
        Judged { root, kind, standing }
    })
}
