//! Checks again only what may have changed since the last check. The findings equal those of a whole check.
//!
//! Findings have three parts: about mappings, by frame; about page tables; about other objects of the kernel.
//! In the first, the findings of a frame depend on its mappings, its entry in the frame table and its loans:
//! frames where one of these changed are checked again. The other two parts are made again as a whole when a
//! table, an object or an entry of the frame table has changed.

use abi::Frame;

use super::check::Policy;
use super::covers::{Cover, covers};
use super::finding::Finding;
use super::objects;
use super::preset::Preset;
use crate::matrix::guest::{Guest, News};
use crate::x86::follow::{Followed, Touched};

impl Policy {
    /// Like [`Self::check_guest`], which must have been the last check, with the same guest and map. `news`
    /// holds the changes since then; `findings` must be unmodified.
    pub fn recheck_guest(
        &mut self,
        followed: &Followed,
        guest: &Guest,
        news: &News,
        findings: &mut Vec<Finding>,
    ) {
        let map = followed.map();
        let Touched::Frames(touched) = followed.touched() else {
            return self.check_guest(map, guest, findings);
        };
        // A truncated list cannot be updated.
        if news.everything || self.is_cut_short() || findings.len() < self.parts[1] {
            return self.check_guest(map, guest, findings);
        }
        let mut doubts = std::mem::take(&mut self.doubts);
        doubts.clear();
        doubts.extend_from_slice(touched);
        doubts.extend_from_slice(&news.facts);
        if news.loans {
            self.renew_covers(guest, &mut doubts);
        }
        doubts.sort_unstable();
        doubts.dedup();

        let tick = guest.info.tick;
        let facts = !news.facts.is_empty();
        let mut named = findings.split_off(self.parts[1]);
        let mut tables = findings.split_off(self.parts[0]);
        if !doubts.is_empty() {
            self.rejudge(followed, guest, &doubts, findings);
        }
        if self.preset == Preset::Strict {
            // The mappings of an object's frame are evidence in findings about it.
            let parties = |part: &[Finding]| !part.is_empty() && !doubts.is_empty();
            if followed.touched_tables() || facts || parties(&tables) {
                self.forget(&mut tables);
                self.check_objects(map, (&guest.frames, tick), objects::tables(map), &mut tables);
            }
            if news.processes || facts || parties(&named) {
                self.forget(&mut named);
                self.check_objects(map, (&guest.frames, tick), objects::named(guest), &mut named);
            }
        }
        self.doubts = doubts;
        if self.is_cut_short() {
            return self.check_guest(map, guest, findings);
        }
        self.parts[0] = findings.len();
        findings.append(&mut tables);
        self.parts[1] = findings.len();
        findings.append(&mut named);
        for finding in findings {
            finding.tick = tick;
        }
    }

    fn is_cut_short(&self) -> bool {
        self.tallies.iter().any(|tally| *tally > Self::MOST_OF_A_KIND)
    }

    /// Takes the current loans; the frames of loans that are new or gone must be checked again.
    fn renew_covers(&mut self, guest: &Guest, doubts: &mut Vec<Frame>) {
        let old = std::mem::take(&mut self.covers);
        self.covers.extend(guest.loans.iter().flat_map(covers));
        self.covers.sort_unstable();
        let others = |these: &[Cover], those: &[Cover], doubts: &mut Vec<Frame>| {
            let new = these.iter().filter(|cover| those.binary_search(cover).is_err());
            doubts.extend(new.map(|cover| cover.frame));
        };
        others(&old, &self.covers, doubts);
        others(&self.covers, &old, doubts);
    }

    /// Checks these frames again, given by rising number.
    fn rejudge(&mut self, followed: &Followed, guest: &Guest, frames: &[Frame], findings: &mut Vec<Finding>) {
        let map = followed.map();
        let before = findings.len();
        let tallies = &mut self.tallies;
        findings.retain(|finding| {
            let doubted = frames.binary_search(&finding.frame).is_ok();
            tallies[finding.what as usize] -= u64::from(doubted);
            !doubted
        });
        let kept = findings.len();
        for frame in frames {
            self.judge(map, map.of(*frame), (&guest.frames, guest.info.tick), findings);
        }
        if kept != before || kept != findings.len() {
            // Stable: the order within a frame stays. Merging two sorted runs costs next to nothing.
            findings.sort_by_key(|finding| finding.frame);
        }
    }

    fn forget(&mut self, part: &mut Vec<Finding>) {
        for finding in part.drain(..) {
            self.tallies[finding.what as usize] -= 1;
        }
    }
}
