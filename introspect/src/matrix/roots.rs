//! Holds the roots that a scan found against the guest's process table and frame table: a root in no table is a hidden
//! address space.
//!
//! A root whose frame is free, quarantined or unused is [`Standing::Residue`]: the tables of a dead process, until the
//! frame is zeroed for its next owner. A guest that can write its frame table can disguise a root as residue; the records
//! that it emitted earlier and CR3 contradict it, and the caller has both.

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
    /// This process's, or the kernel's own with [`Pid::NONE`]. If several share it, the first in the table.
    Named(Pid),
    /// Nobody's, and the frame table has its frame down as free, quarantined or unused: what is left of the dead.
    Residue,
    /// Nobody's, and its frame is in use: a hidden address space.
    Hidden,
}

/// A root that was found, held against the guest's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The root.
    pub root: Root,
    /// What the frame table says of its frame; `None` if it does not reach so far, or says nonsense.
    pub kind: Option<FrameKind>,
    /// What it is.
    pub standing: Standing,
}

/// Holds roots that were found against the guest's process table and frame table, both read at the same moment.
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
