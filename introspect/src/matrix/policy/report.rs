//! Collects findings about one frame: counts each, and lists them up to a bound.

use abi::Frame;

use super::finding::{Fact, Finding, Party, What};
use super::objects::Object;

/// Largest number of findings of one kind that are listed.
pub(super) const MOST_OF_A_KIND: u64 = 1 << 14;

/// The number of findings of each [`What`], by its number.
pub(super) type Tallies = [u64; What::ALL.len()];

/// Collects the findings about one frame.
pub(super) struct Report<'a> {
    pub(super) frame: Frame,
    pub(super) fact: Fact,
    pub(super) tick: u64,
    pub(super) findings: &'a mut Vec<Finding>,
    pub(super) tallies: &'a mut Tallies,
}

impl Report<'_> {
    /// Adds a finding for each mapping that satisfies the condition.
    pub(super) fn each(&mut self, what: What, parties: &[Party], is: impl Fn(&Party) -> bool) {
        for party in parties.iter().filter(|party| is(party)) {
            self.find(what, std::slice::from_ref(party));
        }
    }

    /// Adds one finding for all mappings of the frame, in the order of their standing.
    pub(super) fn all(&mut self, what: What, parties: &[Party]) {
        self.add(what, &ordered(parties), (None, 0));
    }

    /// Adds one finding for these mappings, in their order.
    pub(super) fn find(&mut self, what: What, parties: &[Party]) {
        self.add(what, parties, (None, 0));
    }

    /// Adds one finding for an object of the kernel and the mappings of its frame, `omitted` of which are not
    /// among `parties`.
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

/// Orders mappings: the owner's first, then those without a right.
fn ordered(parties: &[Party]) -> Vec<Party> {
    let mut ordered = parties.to_vec();
    ordered.sort_by_key(|party| party.standing);
    ordered
}
