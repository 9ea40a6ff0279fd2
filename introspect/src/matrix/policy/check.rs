//! The check of a reverse map against the guest's tables.

use abi::Frame;
use abi::frame::FrameEntry;
use abi::loan::Loan;

use super::covers::{self, Cover, covers};
use super::finding::{Fact, Finding, Party, What};
use super::objects::{self, Object};
use super::preset::Preset;
use super::report::{self, Report, Tallies};
use super::{page_table_check, strict};
use crate::matrix::guest::Guest;
use crate::matrix::space::pid;
use crate::x86::reverse::{Mapped, ReverseMap};

/// The policy, with its working memory.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub(super) preset: Preset,
    pub(super) covers: Vec<Cover>,
    pub(super) parties: Vec<Party>,
    pub(super) tallies: Tallies,
    /// After a check of a guest: the indices of the first finding about page tables, and about other objects.
    pub(super) parts: [usize; 2],
    /// Kept to reuse its memory.
    pub(super) doubts: Vec<Frame>,
}

impl Policy {
    /// Largest number of findings of one kind that a check lists. A totally corrupted guest has millions; the
    /// first few say as much.
    pub const MOST_OF_A_KIND: u64 = report::MOST_OF_A_KIND;

    /// Creates a policy with these rules.
    pub fn new(preset: Preset) -> Self {
        Self { preset, ..Self::default() }
    }

    /// Returns its rules.
    pub const fn preset(&self) -> Preset {
        self.preset
    }

    /// Checks every mapping of `map` by the frame table (from frame 0 on) and the active and draining loans.
    /// Empties `findings` first. Findings are ordered by frame, then by [`What`], then by address space and
    /// address.
    pub fn check(
        &mut self,
        map: &ReverseMap,
        frames: &[FrameEntry],
        loans: &[Loan],
        findings: &mut Vec<Finding>,
    ) {
        self.check_mappings(map, (frames, loans, 0), findings);
    }

    /// Like [`Self::check`] with the tables of a guest, and with its virtual time in the findings. If the
    /// rules cover the kernel's objects, those that the guest's tables name and the page tables of `map` are
    /// checked as well. Their findings come last, in the order of objects: page tables, log of keys,
    /// descriptors, stacks.
    pub fn check_guest(&mut self, map: &ReverseMap, guest: &Guest, findings: &mut Vec<Finding>) {
        let tick = guest.info.tick;
        self.check_mappings(map, (&guest.frames, &guest.loans, tick), findings);
        self.parts = [findings.len(); 2];
        if self.preset == Preset::Strict {
            self.check_objects(map, (&guest.frames, tick), objects::tables(map), findings);
            self.parts[1] = findings.len();
            self.check_objects(map, (&guest.frames, tick), objects::named(guest), findings);
        }
    }

    /// Checks the frames of these objects of the kernel, whatever the preset, and adds violations to
    /// `findings`. Call it after [`Self::check`] with the same map and frame table.
    pub fn check_objects(
        &mut self,
        map: &ReverseMap,
        (frames, tick): (&[FrameEntry], u64),
        objects: impl IntoIterator<Item = Object>,
        findings: &mut Vec<Finding>,
    ) {
        for object in objects {
            if object.role.is_right(Fact::of(frames, object.frame).kind()) {
                continue;
            }
            let fact = Fact::of(frames, object.frame);
            // A hostile guest can name a much-mapped frame often: both are bounded.
            let group = map.of(object.frame);
            let kept = &group[..group.len().min(Finding::MOST_PARTIES)];
            self.gather(map, kept, fact);
            let tallies = &mut self.tallies;
            let mut report = Report { frame: object.frame, fact, tick, findings, tallies };
            report.object(object, &self.parties, group.len() - kept.len());
        }
    }

    /// Returns how often the last check found this, including findings that it did not list.
    pub const fn tally(&self, what: What) -> u64 {
        self.tallies[what as usize]
    }

    pub(super) fn check_mappings(
        &mut self,
        map: &ReverseMap,
        (frames, loans, tick): (&[FrameEntry], &[Loan], u64),
        findings: &mut Vec<Finding>,
    ) {
        findings.clear();
        self.tallies = Tallies::default();
        self.covers.clear();
        self.covers.extend(loans.iter().flat_map(covers));
        self.covers.sort_unstable();
        for group in map.groups() {
            self.judge(map, group, (frames, tick), findings);
        }
    }

    /// Checks the mappings of one frame. Both steps look up the frame's entry: the first needs little of it,
    /// and few frames need the second.
    #[inline]
    pub(super) fn judge(
        &mut self,
        map: &ReverseMap,
        group: &[Mapped],
        (frames, tick): (&[FrameEntry], u64),
        findings: &mut Vec<Finding>,
    ) {
        let Some(frame) = group.first().map(|mapped| mapped.frame()) else { return };
        if self.preset != Preset::Strict || !strict::is_plain(map, group, Fact::of(frames, frame)) {
            self.judge_at_length(map, (frame, group), (Fact::of(frames, frame), tick), findings);
        }
    }

    #[inline(never)]
    pub(super) fn judge_at_length(
        &mut self,
        map: &ReverseMap,
        (frame, group): (Frame, &[Mapped]),
        (fact, tick): (Fact, u64),
        findings: &mut Vec<Finding>,
    ) {
        let mine = self.gather(map, group, fact);
        let tallies = &mut self.tallies;
        let mut report = Report { frame, fact, tick, findings, tallies };
        match self.preset {
            Preset::Strict => strict::judge(&mut report, &self.parties),
            Preset::PageTableCheck => {
                page_table_check::judge(&mut report, &mut self.parties, &self.covers[mine]);
            }
        }
    }

    /// Collects the mappings of a frame with their standing; returns which of the covers belong to this
    /// frame.
    pub(super) fn gather(
        &mut self,
        map: &ReverseMap,
        group: &[Mapped],
        fact: Fact,
    ) -> std::ops::Range<usize> {
        self.parties.clear();
        let Some(frame) = group.first().map(|mapped| mapped.frame()) else { return 0..0 };
        let from = self.covers.partition_point(|cover| cover.frame < frame);
        let to = from + self.covers[from..].partition_point(|cover| cover.frame == frame);
        let mine = &self.covers[from..to];
        self.parties
            .extend(group.iter().map(|mapped| covers::party(pid(map.id(*mapped)), *mapped, fact, mine)));
        from..to
    }
}

/// Returns the findings about these mappings by [`Preset::Strict`]. See [`Policy::check`].
#[must_use]
pub fn check(map: &ReverseMap, frames: &[FrameEntry], loans: &[Loan]) -> Vec<Finding> {
    let mut findings = Vec::new();
    Policy::default().check(map, frames, loans, &mut findings);
    findings
}
