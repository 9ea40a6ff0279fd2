//! What a check says: findings, each with its evidence.

use abi::frame::{FrameEntry, FrameKind};
use abi::{Frame, GuestPhys, GuestVirt, Pid};

use super::objects::Object;
use crate::x86::paging::Rights;

/// What is wrong, or worth knowing, about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum What {
    /// One process's memory is within reach of another: a frame with an owner is mapped by somebody without its
    /// owner's loan, or a frame without owner is mapped by several and a loan does not cover it.
    Leak,
    /// A frame that belongs to nobody is still mapped, and no loan covers that: none can where the frame is not even
    /// quarantined.
    Stale,
    /// Ring 3 can reach a frame of the kernel.
    Crossing,
    /// The kernel keeps an object of its own in a frame that was given to somebody, or to nobody.
    Backing,
    /// A program's frame can be written by a process.
    ProgramWritable,
    /// A page is writable and executable at once.
    WritableExecutable,
    /// One process maps a frame at two addresses. Not wrong in itself.
    Alias,
}

impl What {
    /// All of them, in the order of their numbers.
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
    /// None that the preset's rules know of.
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
    /// The word of a table that begins with frame 0.
    pub fn of(frames: &[FrameEntry], frame: Frame) -> Self {
        Self(usize::try_from(frame.0).ok().and_then(|at| frames.get(at)).copied())
    }

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
    /// The guest's virtual time when its tables were read; 0 if the caller gave none.
    pub tick: u64,
    /// For [`What::Leak`], [`What::Stale`] and [`What::Backing`] all mappings of the frame that ring 3 can use: the
    /// owner's, then the uncovered, then the covered ones. For [`What::Alias`] all of the process's. Otherwise the one
    /// mapping concerned.
    pub parties: Vec<Party>,
    /// Mappings left out of `parties` because there were more than [`Finding::MOST_PARTIES`].
    pub omitted: usize,
    /// For [`What::Backing`] what the kernel keeps there.
    pub object: Option<Object>,
}

impl Finding {
    /// Most mappings in one finding.
    pub const MOST_PARTIES: usize = 64;

    /// The mappings without any right. In a leak each makes a pair with the owner, whether or not that one has the frame
    /// mapped at this moment.
    pub fn uncovered(&self) -> impl Iterator<Item = &Party> {
        self.parties.iter().filter(|party| party.standing == Standing::Uncovered)
    }
}
