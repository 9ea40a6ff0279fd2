//! Findings of a check, each with its evidence.

use abi::frame::{FrameEntry, FrameKind};
use abi::{Frame, GuestPhys, GuestVirt, Pid};

use super::objects::Object;
use crate::x86::paging::Rights;

/// What is wrong, or worth knowing, about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum What {
    /// One process can reach another's memory: another process maps an owned frame without a loan of its
    /// owner, or several processes map a frame without owner and no loan covers that.
    Leak,
    /// A frame without owner is still mapped, and no loan covers that. None can unless the frame is
    /// quarantined.
    Stale,
    /// Ring 3 can reach a frame of the kernel.
    Crossing,
    /// The kernel keeps an object of its own in a frame that the frame table gives to a process, or to none.
    Backing,
    /// A process can write a program's frame.
    ProgramWritable,
    /// A page is writable and executable at once.
    WritableExecutable,
    /// One process maps a frame at two addresses. No violation in itself.
    Alias,
}

impl What {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Leak,
        Self::Stale,
        Self::Crossing,
        Self::Backing,
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
            Self::Backing => "backing",
            Self::ProgramWritable => "program-writable",
            Self::WritableExecutable => "writable-executable",
            Self::Alias => "alias",
        }
    }

    /// Returns whether it breaks a rule; otherwise it is for information.
    pub const fn is_violation(self) -> bool {
        !matches!(self, Self::Alias)
    }
}

/// The right by which a process maps a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// The process owns the frame.
    Owner,
    /// None by the preset's rules.
    Uncovered,
    /// A loan covers it, or the frame is a program's and the mapping read-only.
    Covered,
}

impl Standing {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Uncovered => "uncovered",
            Self::Covered => "covered",
        }
    }
}

/// One mapping, as evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Party {
    /// The process that maps the frame.
    pub pid: Pid,
    /// The page.
    pub virt: GuestVirt,
    /// The rights.
    pub rights: Rights,
    /// The address of the leaf entry.
    pub entry: GuestPhys,
    /// The right by which it is mapped.
    pub standing: Standing,
    /// The serial number of a loan of this frame at this page. It covers the mapping only if `standing` says
    /// so: the loan of a dead lender explains a leak but does not permit it.
    pub loan: Option<u32>,
}

/// The frame table's entry for a frame; `None` for a frame that the table does not reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fact(pub Option<FrameEntry>);

impl Fact {
    /// Returns the entry in a table that begins with frame 0.
    pub fn of(frames: &[FrameEntry], frame: Frame) -> Self {
        Self(usize::try_from(frame.0).ok().and_then(|at| frames.get(at)).copied())
    }

    /// Returns the frame's kind; `None` if the table does not reach it, or has an unknown kind.
    pub fn kind(self) -> Option<FrameKind> {
        self.0.and_then(|entry| FrameKind::from_raw(entry.kind))
    }

    /// Returns its owner.
    pub fn owner(self) -> Pid {
        self.0.map_or(Pid::NONE, |entry| entry.owner)
    }
}

/// A finding about one frame, with its evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The kind of finding.
    pub what: What,
    /// The frame.
    pub frame: Frame,
    /// The frame table's entry for it.
    pub fact: Fact,
    /// The guest's virtual time when its tables were read; 0 if the caller gave none.
    pub tick: u64,
    /// For [`What::Leak`], [`What::Stale`] and [`What::Backing`], all mappings of the frame that ring 3 can
    /// use: the owner's, then the uncovered, then the covered ones. For [`What::Alias`], all of the
    /// process's. Otherwise the one mapping concerned.
    pub parties: Vec<Party>,
    /// Mappings left out of `parties` because there were more than [`Finding::MOST_PARTIES`].
    pub omitted: usize,
    /// For [`What::Backing`], the object that the kernel keeps there.
    pub object: Option<Object>,
}

impl Finding {
    /// Largest number of mappings in one finding.
    pub const MOST_PARTIES: usize = 64;

    /// Returns the mappings without any right. In a leak each forms a pair with the owner, whether or not the
    /// owner maps the frame at this moment.
    pub fn uncovered(&self) -> impl Iterator<Item = &Party> {
        self.parties.iter().filter(|party| party.standing == Standing::Uncovered)
    }
}
