//! Nodes: a table at one place of one tree.

use address::Frame;

use crate::x86::lists::Span;

/// Number of a node; [`NO_NODE`] for none.
pub(super) type NodeId = u32;
pub(super) const NO_NODE: NodeId = u32::MAX;

/// The first node of a table; [`NO_NODE`] for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct First(pub(super) NodeId);

impl Default for First {
    fn default() -> Self {
        Self(NO_NODE)
    }
}

/// A table at one place of one address space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) at: Frame,
    /// The first address that it covers.
    pub(super) base: u64,
    pub(super) space: u32,
    pub(super) level: u8,
    pub(super) write: bool,
    pub(super) execute: bool,
    /// Its parent; none for a root.
    pub(super) parent: NodeId,
    /// Its used entries.
    pub(super) entries: Span,
    /// For each entry the node below; none at level 1.
    pub(super) children: Span,
    /// Other nodes of the same table.
    pub(super) before: NodeId,
    pub(super) after: NodeId,
}

const _: () = assert!(size_of::<Node>() == 64);
