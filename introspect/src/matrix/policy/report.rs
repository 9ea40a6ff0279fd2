//! Where findings about one frame are written down: each counted, and listed up to a bound.

use abi::Frame;

use super::finding::{Fact, Finding, Party, What};
use super::objects::Object;

/// Most findings of one kind that are listed.
pub(super) const MOST_OF_A_KIND: u64 = 1 << 14;

/// How often each [`What`] was found, by its number.
pub(super) type Tallies = [u64; What::ALL.len()];

/// The report on one frame.
pub(super) struct Report<'a> {
    pub(super) frame: Frame,
    pub(super) fact: Fact,
    pub(super) tick: u64,
    pub(super) findings: &'a mut Vec<Finding>,
    pub(super) tallies: &'a mut Tallies,
}

impl Report<'_> {
    /// A finding for each mapping that is so.
    pub(super) fn each(&mut self, what: What, parties: &[Party], is: impl Fn(&Party) -> bool) {
        for party in parties.iter().filter(|party| is(party)) {
            self.find(what, std::slice::from_ref(party));
        }
    }

    /// One finding for all mappings of the frame, in the order of their standing.
    pub(super) fn all(&mut self, what: What, parties: &[Party]) {
        self.add(what, &ordered(parties), (None, 0));
    }

    /// One finding for these mappings, in their order.
    pub(super) fn find(&mut self, what: What, parties: &[Party]) {
        self.add(what, parties, (None, 0));
    }

    /// One finding for an object of the kernel's and the mappings of its frame, without so many of them.
    pub(super) fn object(&mut self, object: Object, parties: &[Party], omitted: usize) {
        self.add(What::Backing, &ordered(parties), (Some(object), omitted));
    }

    fn add(&mut self, what: What, parties: &[Party], (object, omitted): (Option<Object>, usize)) {
        let tally = &mut self.tallies[what as usize];
        *tally += 1;
        if *tally > MOST_OF_A_KIND {
            return;
        }
        let kept = parties.len().min(Finding::MOST_PARTIES);
        self.findings.push(Finding {
            what,
            frame: self.frame,
            fact: self.fact,
            tick: self.tick,
            parties: parties[..kept].to_vec(),
            omitted: omitted + parties.len() - kept,
            object,
        });
    }
}

/// The owner's mappings first, then those without a right.
fn ordered(parties: &[Party]) -> Vec<Party> {
    let mut ordered = parties.to_vec();
    ordered.sort_by_key(|party| party.standing);
    ordered
}
